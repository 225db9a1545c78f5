package steps

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
)

// testSite is a site on one host, as plans would hand it to steps.
func testSite() Site {
	s := Site{
		Name: "example.org",
		SFU: SFU{Host: "h", URL: "https://matrix-rtc-sfu.example.org", Image: "livekit/livekit-server:v1", Container: "livekit-sfu",
			NodeIP: "198.51.100.7", Bind: "127.0.0.1", UID: 10030, Participants: 40, Ports: &Ports{7880, 7881, "50100-50200"}},
		Auth: Auth{Host: "h", URL: "https://matrix-rtc-jwt.example.org", Image: "jwt:1", Container: "element-call-jwt", Bind: "127.0.0.1", Port: 8080,
			FullAccess: []string{"example.org"}, UID: 10033},
		WellKnown: map[string]string{}, Reaches: map[string][]string{},
	}
	s.Fronts = map[string][]Route{"h": {
		{"sfu", s.SFU.URL, "127.0.0.1:7880"},
		{"auth", s.Auth.URL, "127.0.0.1:8080"},
	}}
	return s
}

func testKeys() livekit.Keys {
	return livekit.Keys{Key: host.NewSecret(strings.Repeat("k", 48)), Secret: host.NewSecret(strings.Repeat("s", 48))}
}

// sfuFound are the facts of a host on which everything is as the site wants
// it, so that a test can spoil one thing at a time.
func sfuFound(t *testing.T, site Site) sfuFacts {
	t.Helper()
	return sfuWith(t, site, testKeys())
}

// sfuWith is sfuFound with these credentials.
func sfuWith(t *testing.T, site Site, keys livekit.Keys) sfuFacts {
	t.Helper()
	f := sfuFacts{
		name: "h", arch: "amd64", image: imageFacts{Found: true, ID: "sha256:i"},
		addrs: []HostAddr{{"lo", "127.0.0.1"}, {"eth0", "198.51.100.7"}, {"docker0", "172.17.0.1"}},
		route: HostAddr{"eth0", "198.51.100.7"}, files: map[string]host.File{},
	}
	first, err := decideSFU(site, f, Shared{Secrets: KeySecrets(keys)})
	if err != nil || len(first.Changes) != 1 {
		t.Fatalf("first decision: %d changes, %v", len(first.Changes), err)
	}
	c := first.Changes[0].(*Container)
	for _, d := range c.Dirs {
		f.files[d.Path] = host.File{Path: d.Path, Exists: true}
	}
	for _, e := range c.Edits {
		data, err := e.Text.Fill(KeySecrets(keys))
		if err != nil {
			t.Fatal(err)
		}
		f.files[e.Path] = host.File{Path: e.Path, Real: e.Path, Exists: true, Mode: e.Mode, GID: e.GID, Data: data}
	}
	sum, err := specDigest(c.Spec, c.Config, KeySecrets(keys))
	if err != nil {
		t.Fatal(err)
	}
	f.container = containerFacts{Found: true, ID: "c1", Image: "sha256:i", Running: true, Restart: "always", Labels: map[string]string{LabelSpec: sum}}
	return f
}

func TestLiveKitSecondApplyPlansNothing(t *testing.T) {
	site := testSite()
	d, err := decideSFU(site, sfuFound(t, site), Shared{Secrets: KeySecrets(testKeys())})
	if err != nil || len(d.Changes) != 0 {
		t.Fatalf("got %d changes, %v; want none", len(d.Changes), err)
	}
}

func TestLiveKitChangesOnlyForACause(t *testing.T) {
	site := testSite()
	for name, spoil := range map[string]func(*sfuFacts, *Site){
		"restart policy": func(f *sfuFacts, _ *Site) { f.container.Restart = "unless-stopped" },
		"not running":    func(f *sfuFacts, _ *Site) { f.container.Running = false },
		"other image":    func(f *sfuFacts, _ *Site) { f.image.ID = "sha256:new" },
		"port":           func(_ *sfuFacts, s *Site) { p := *s.SFU.Ports; p.TCP = 7999; s.SFU.Ports = &p },
		"file edited by hand": func(f *sfuFacts, s *Site) {
			p := s.Dir() + "/sfu/livekit-config.yaml"
			file := f.files[p]
			file.Data = append([]byte("# mine\n"), file.Data...)
			f.files[p] = file
		},
		"key file readable by all": func(f *sfuFacts, s *Site) {
			p := s.Dir() + "/sfu/keys.yaml"
			file := f.files[p]
			file.Mode = 0o644
			f.files[p] = file
		},
	} {
		t.Run(name, func(t *testing.T) {
			f, s := sfuFound(t, site), site
			spoil(&f, &s)
			d, err := decideSFU(s, f, Shared{Secrets: KeySecrets(testKeys())})
			if err != nil || len(d.Changes) != 1 {
				t.Fatalf("got %d changes, %v; want 1", len(d.Changes), err)
			}
		})
	}
}

func TestMediaAddress(t *testing.T) {
	f := sfuFacts{addrs: []HostAddr{{"eth0", "10.0.0.5"}, {"docker0", "172.17.0.1"}}, route: HostAddr{"eth0", "10.0.0.5"}}
	if _, _, findings := media(SFU{}, f); len(findings) != 1 || findings[0].Severity != Error {
		t.Errorf("a private address of the host's own must be refused, got %v", findings)
	}
	ip, devs, findings := media(SFU{NodeIP: "198.51.100.9"}, f) // behind 1:1 NAT
	if ip != "198.51.100.9" || !cmp.Equal(devs, []string{"eth0"}) || len(findings) != 0 {
		t.Errorf("got %s %v %v", ip, devs, findings)
	}
}

func TestSecretsStayOutOfChanges(t *testing.T) {
	site := testSite()
	f := sfuFound(t, site)
	f.container.Running = false
	for p, file := range f.files {
		file.Data = append(file.Data, '\n')
		f.files[p] = file
	}
	d, err := decideSFU(site, f, Shared{Secrets: KeySecrets(testKeys())})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range d.Changes {
		b, err := MarshalChange(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{testKeys().Key.Reveal(), testKeys().Secret.Reveal()} {
			if strings.Contains(string(b), secret) {
				t.Errorf("the plan's data holds a secret: %s", b)
			}
		}
		back, err := UnmarshalChange(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, back); diff != "" {
			t.Errorf("a change does not survive JSON:\n%s", diff)
		}
	}
}

func TestMaskSecrets(t *testing.T) {
	in := "+registration_shared_secret: \"abc\"\n-  password: x\n database: postgres://u:pw@h/d\n macaroon_secret_key: q\n plain: 1\n"
	got := maskSecrets(in)
	for _, leak := range []string{"abc", " x", "pw@", ": q"} {
		if strings.Contains(got, leak) {
			t.Errorf("%q is still in %q", leak, got)
		}
	}
	if !strings.Contains(got, "plain: 1") {
		t.Errorf("too much is masked: %q", got)
	}
}

func TestRanges(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"50100-50200,7881":          "7881,50100-50200",
		"1-5,6-9,20,21":             "1-9,20-21",
		"50150-50160,50100-50200,7": "7,50100-50200",
	} {
		if got := formatRanges(mergeRanges(parseRanges(in))); got != want {
			t.Errorf("%q became %q, want %q", in, got, want)
		}
	}
}

package steps

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
)

// siteOf is a site of these, a proxy and a static well-known, all on one host.
func siteOf(sfu *SFU, auth *Auth) *Site {
	s := &Site{Name: "example.org"}
	for _, c := range []Config{sfu, auth} {
		s.Parts = append(s.Parts, declared(c).Parts...)
	}
	s.Parts = append(s.Parts, Part{Name: "nginx", Title: "the proxy", Host: auth.Host, Proxy: new(Proxy)})
	return s
}

// declared is where a config of the site stands.
func declared(c Config) Decl {
	d := Decl{Site: "example.org", Host: c.HostName()}
	d.Parts = c.Parts(d)
	return d
}

func testSFU() *SFU {
	return &SFU{Host: "h", URL: "https://matrix-rtc-sfu.example.org", Image: "livekit/livekit-server:v1", Container: "livekit-sfu",
		NodeIP: "198.51.100.7", Bind: "127.0.0.1", UID: 10030, Participants: 40, Ports: &Ports{7880, 7881, "50100-50200"}}
}

func testAuth() *Auth {
	return &Auth{Host: "h", URL: "https://matrix-rtc-jwt.example.org", Image: "jwt:1", Container: "element-call-jwt", Bind: "127.0.0.1", Port: 8080,
		FullAccess: []string{"example.org"}, UID: 10033}
}

// sfuFound are the facts of a host on which everything is as the site wants
// it, so that a test can spoil one thing at a time.
func sfuFound(t *testing.T, sfu *SFU) sfuFacts {
	t.Helper()
	return sfuWith(t, sfu, TestKeys())
}

// sfuWith is sfuFound with these credentials.
func sfuWith(t *testing.T, sfu *SFU, keys livekit.Keys) sfuFacts {
	t.Helper()
	f := sfuFacts{
		name: "h", arch: "amd64", image: imageFacts{Found: true, ID: "sha256:i"},
		addrs: []HostAddr{{"lo", "127.0.0.1"}, {"eth0", "198.51.100.7"}, {"docker0", "172.17.0.1"}},
		route: HostAddr{"eth0", "198.51.100.7"}, files: map[string]host.File{},
	}
	first, err := decideSFU(sfu, testAuth(), f, Shared{Secrets: KeySecrets(keys)})
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

// decideSFU is the decision of an SFU beside a JWT service.
func decideSFU(sfu *SFU, auth *Auth, f sfuFacts, s Shared) (Decision, error) {
	return sfu.decide(nil, siteOf(sfu, auth), f, s)
}

func TestLiveKitSecondApplyPlansNothing(t *testing.T) {
	sfu := testSFU()
	d, err := decideSFU(sfu, testAuth(), sfuFound(t, sfu), Shared{Secrets: KeySecrets(TestKeys())})
	if err != nil || len(d.Changes) != 0 {
		t.Fatalf("got %d changes, %v; want none", len(d.Changes), err)
	}
}

func TestLiveKitChangesOnlyForACause(t *testing.T) {
	const dir = "/etc/ecdeploy/example.org"
	for name, spoil := range map[string]func(*sfuFacts, *SFU){
		"restart policy": func(f *sfuFacts, _ *SFU) { f.container.Restart = "unless-stopped" },
		"not running":    func(f *sfuFacts, _ *SFU) { f.container.Running = false },
		"other image":    func(f *sfuFacts, _ *SFU) { f.image.ID = "sha256:new" },
		"port":           func(_ *sfuFacts, c *SFU) { c.Ports.TCP = 7999 },
		"file edited by hand": func(f *sfuFacts, _ *SFU) {
			p := dir + "/sfu/livekit-config.yaml"
			file := f.files[p]
			file.Data = append([]byte("# mine\n"), file.Data...)
			f.files[p] = file
		},
		"key file readable by all": func(f *sfuFacts, _ *SFU) {
			p := dir + "/sfu/keys.yaml"
			file := f.files[p]
			file.Mode = 0o644
			f.files[p] = file
		},
	} {
		t.Run(name, func(t *testing.T) {
			sfu := testSFU()
			f := sfuFound(t, sfu)
			spoil(&f, sfu)
			d, err := decideSFU(sfu, testAuth(), f, Shared{Secrets: KeySecrets(TestKeys())})
			if err != nil || len(d.Changes) != 1 {
				t.Fatalf("got %d changes, %v; want 1", len(d.Changes), err)
			}
		})
	}
}

func TestMediaAddress(t *testing.T) {
	f := sfuFacts{addrs: []HostAddr{{"eth0", "10.0.0.5"}, {"docker0", "172.17.0.1"}}, route: HostAddr{"eth0", "10.0.0.5"}}
	if _, _, findings := (&SFU{}).media(f); len(findings) != 1 || findings[0].Severity != Error {
		t.Errorf("a private address of the host's own must be refused, got %v", findings)
	}
	ip, devs, findings := (&SFU{NodeIP: "198.51.100.9"}).media(f) // behind 1:1 NAT
	if ip != "198.51.100.9" || !cmp.Equal(devs, []string{"eth0"}) || len(findings) != 0 {
		t.Errorf("got %s %v %v", ip, devs, findings)
	}
}

func TestSecretsStayOutOfChanges(t *testing.T) {
	sfu := testSFU()
	f := sfuFound(t, sfu)
	f.container.Running = false
	for p, file := range f.files {
		file.Data = append(file.Data, '\n')
		f.files[p] = file
	}
	d, err := decideSFU(sfu, testAuth(), f, Shared{Secrets: KeySecrets(TestKeys())})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range d.Changes {
		b, err := MarshalChange(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{TestKeys().Key.Reveal(), TestKeys().Secret.Reveal()} {
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

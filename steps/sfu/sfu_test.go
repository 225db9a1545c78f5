package sfu

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

func testSFU() *Config {
	return &Config{Host: "h", URL: "https://matrix-rtc-sfu.example.org", Image: "livekit/livekit-server:v1", Container: "livekit-sfu",
		NodeIP: "198.51.100.7", Bind: "127.0.0.1", UID: 10030, Participants: 40, Ports: &Ports{7880, 7881, "50100-50200"}}
}

// sfuFound are the facts of a host on which everything is as the site wants
// it, so that a test can spoil one thing at a time.
func sfuFound(t *testing.T, sfu *Config) facts {
	t.Helper()
	return sfuWith(t, sfu, suite.Keys())
}

// sfuWith is sfuFound with these credentials.
func sfuWith(t *testing.T, sfu *Config, keys livekit.Keys) facts {
	t.Helper()
	f := facts{
		name: "h", arch: "amd64", image: steps.ImageFacts{Found: true, ID: "sha256:i"},
		addrs: []steps.HostAddr{{Dev: "lo", IP: "127.0.0.1"}, {Dev: "eth0", IP: "198.51.100.7"}, {Dev: "docker0", IP: "172.17.0.1"}},
		route: steps.HostAddr{Dev: "eth0", IP: "198.51.100.7"},
	}
	first, err := decideSFU(sfu, suite.OneHost(), f, steps.Shared{Secrets: credentials.Secrets(keys)})
	if err != nil || len(first.Changes) != 1 {
		t.Fatalf("first decision: %d changes, %v", len(first.Changes), err)
	}
	c := first.Changes[0].(*steps.Container)
	f.files, f.container = suite.Made(t, c, keys)
	return f
}

// decideSFU is the decision of an SFU in a site.
func decideSFU(sfu *Config, site *steps.Site, f facts, s steps.Shared) (steps.Decision, error) {
	return sfu.decide(nil, site, f, s)
}

func TestLiveKitSecondApplyPlansNothing(t *testing.T) {
	sfu := testSFU()
	d, err := decideSFU(sfu, suite.OneHost(), sfuFound(t, sfu), steps.Shared{Secrets: credentials.Secrets(suite.Keys())})
	if err != nil || len(d.Changes) != 0 {
		t.Fatalf("got %d changes, %v; want none", len(d.Changes), err)
	}
}

func TestLiveKitChangesOnlyForACause(t *testing.T) {
	const dir = "/etc/ecdeploy/example.org"
	for name, spoil := range map[string]func(*facts, *Config){
		"restart policy": func(f *facts, _ *Config) { f.container.Restart = "unless-stopped" },
		"not running":    func(f *facts, _ *Config) { f.container.Running = false },
		"other image":    func(f *facts, _ *Config) { f.image.ID = "sha256:new" },
		"port":           func(_ *facts, c *Config) { c.Ports.TCP = 7999 },
		"file edited by hand": func(f *facts, _ *Config) {
			p := dir + "/sfu/livekit-config.yaml"
			file := f.files[p]
			file.Data = append([]byte("# mine\n"), file.Data...)
			f.files[p] = file
		},
		"key file readable by all": func(f *facts, _ *Config) {
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
			d, err := decideSFU(sfu, suite.OneHost(), f, steps.Shared{Secrets: credentials.Secrets(suite.Keys())})
			if err != nil || len(d.Changes) != 1 {
				t.Fatalf("got %d changes, %v; want 1", len(d.Changes), err)
			}
		})
	}
}

func TestMediaAddress(t *testing.T) {
	f := facts{addrs: []steps.HostAddr{{Dev: "eth0", IP: "10.0.0.5"}, {Dev: "docker0", IP: "172.17.0.1"}}, route: steps.HostAddr{Dev: "eth0", IP: "10.0.0.5"}}
	if _, _, findings := (&Config{}).media(f); len(findings) != 1 || findings[0].Severity != steps.Error {
		t.Errorf("a private address of the host's own must be refused, got %v", findings)
	}
	ip, devs, findings := (&Config{NodeIP: "198.51.100.9"}).media(f) // behind 1:1 NAT
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
	d, err := decideSFU(sfu, suite.OneHost(), f, steps.Shared{Secrets: credentials.Secrets(suite.Keys())})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range d.Changes {
		b, err := steps.MarshalChange(c)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{suite.Keys().Key.Reveal(), suite.Keys().Secret.Reveal()} {
			if strings.Contains(string(b), secret) {
				t.Errorf("the plan's data holds a secret: %s", b)
			}
		}
		back, err := steps.UnmarshalChange(b)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(c, back); diff != "" {
			t.Errorf("a change does not survive JSON:\n%s", diff)
		}
	}
}

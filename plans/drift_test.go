package plans

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// makeWholePlan has a change of every kind, on a host that runs the SFU already.
func makeWholePlan() SitePlan {
	file := func(path, before string) steps.FileEdit {
		return steps.FileEdit{Path: path, Before: before, After: "a", Text: steps.Lit("text"), Diff: "-x\n+y\n"}
	}
	return SitePlan{Site: "x.test", Secrets: secretsOf(testKeys("s")), Hosts: []HostPlan{{Host: "h", Steps: []StepPlan{
		{Stage: steps.StagePreflight, Step: "preflight"},
		{Stage: steps.StageHost, Step: "firewall", Changes: Changes{&steps.Exec{Verb: "+", Title: "ufw allow 7881/tcp", DoText: "do", UndoText: "undo"}}},
		{Stage: steps.StageSFU, Step: "livekit", Changes: Changes{
			&steps.Image{Ref: "livekit:1", Why: "not on the host", Archive: &steps.Archive{Path: "/l.tar", Config: "sha256:1"}},
			&steps.Container{Site: "x.test",
				Spec:     host.ContainerSpec{Name: "livekit-sfu", Image: "livekit:1"},
				Replaces: "0123456789abcdef",
				Why:      []string{"its settings differ"},
				Dirs:     []steps.Dir{{Path: "/etc/ecdeploy", Mode: 0o755}}, Edits: []steps.FileEdit{file("/e/config", "hmac:1"), file("/e/keys", "")}},
		}, Checks: []steps.Check{{Name: "LiveKit answers", HTTP: &steps.HTTPCheck{URL: "http://127.0.0.1:7880/", Status: 200}, Timeout: time.Second}}},
		{
			Stage: steps.StageProxy,
			Step:  "nginx",
			Changes: Changes{&steps.Files{
				Title: "nginx",
				Unit:  "nginx.service",
				Edits: []steps.FileEdit{file("/etc/nginx/nginx.conf", "b"), file("/etc/nginx/new", "")},
			}},
		},
	}}}}
}

func testKeys(secret string) livekit.Keys {
	return livekit.Keys{Key: host.NewSecret("key"), Secret: host.NewSecret(strings.Repeat(secret, 40))}
}

// Each thing that moves is named, with its host and step.
func TestDrift(t *testing.T) {
	const site, fw, sfu, nginx = "x.test: ", "x.test: h: firewall: ", "x.test: h: livekit: ", "x.test: h: nginx: "
	container := func(s *SitePlan) *steps.Container { return s.Hosts[0].Steps[2].Changes[1].(*steps.Container) }
	image := func(s *SitePlan) *steps.Image { return s.Hosts[0].Steps[2].Changes[0].(*steps.Image) }
	files := func(s *SitePlan) *steps.Files { return s.Hosts[0].Steps[3].Changes[0].(*steps.Files) }
	f := &File{Path: "/d/hosts.hcl", Sum: "5a", Hosts: []Host{{Name: "h"}}, Sites: []Site{siteOnHost("h")}}
	made, err := NewSaved(f, Plan{Sites: []SitePlan{makeWholePlan()}})
	if err != nil {
		t.Fatal(err)
	}
	saved, err := made.Encode()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		name string
		move func(s *SitePlan)
		want []string
	}{
		{"nothing", func(*SitePlan) {}, nil},
		{"what is only said", func(s *SitePlan) {
			s.Hosts[0].Steps[0].Findings = []Finding{{Severity: steps.Warning, Summary: "w"}}
		}, nil},
		{
			name: "a check more",
			move: func(s *SitePlan) { s.Hosts[0].Steps[3].Checks = []steps.Check{{Name: "c"}} },
			want: []string{nginx + "it would be checked in another way whether it works"},
		},
		{
			name: "another check",
			move: func(s *SitePlan) { s.Hosts[0].Steps[2].Checks[0].Timeout = time.Hour },
			want: []string{sfu + "it would be checked in another way whether it works"},
		},
		{"no checks", func(s *SitePlan) { s.Hosts[0].Steps[2].Checks = nil }, []string{sfu + "it would not be checked any more whether it works"}},
		{
			name: "a file was edited",
			move: func(s *SitePlan) { files(s).Edits[0].Before = "b2"; files(s).Edits[0].After = "a2" },
			want: []string{nginx + "/etc/nginx/nginx.conf was changed since the plan was made"},
		},
		{"a file came", func(s *SitePlan) { files(s).Edits[1].Before = "b" }, []string{nginx + "/etc/nginx/new is there now; it was not when the plan was made"}},
		{"a file went", func(s *SitePlan) { files(s).Edits[0].Before = "" }, []string{nginx + "/etc/nginx/nginx.conf is gone"}},
		{"a file is right by now", func(s *SitePlan) { files(s).Edits = files(s).Edits[:1] }, []string{nginx + "/etc/nginx/new need not be changed any more"}},
		{
			name: "one more file",
			move: func(s *SitePlan) { files(s).Edits = append(files(s).Edits, steps.FileEdit{Path: "/etc/nginx/more"}) },
			want: []string{nginx + "/etc/nginx/more must be changed now, too"},
		},
		{
			name: "other bytes for the same file",
			move: func(s *SitePlan) { files(s).Edits[1].Text = steps.Lit("other") },
			want: []string{nginx + "what is to be written to /etc/nginx/new differs"},
		},
		{"another title, the same files", func(s *SitePlan) { files(s).Title = "proxy" }, []string{nginx + "proxy would be done in another way"}},
		{"another unit", func(s *SitePlan) { files(s).Unit = "n.service" }, []string{nginx + "nginx would be done in another way"}},
		{
			name: "no change of files",
			move: func(s *SitePlan) { s.Hosts[0].Steps[3].Changes = nil },
			want: []string{nginx + "/etc/nginx/nginx.conf need not be changed any more", nginx + "/etc/nginx/new need not be changed any more"},
		},
		{"a new change of files", func(s *SitePlan) {
			s.Hosts[0].Steps = append(s.Hosts[0].Steps, StepPlan{
				Stage:   steps.StageWellKnown,
				Step:    "well-known",
				Changes: Changes{&steps.Files{Title: "w", Edits: []steps.FileEdit{{Path: "/w"}}}},
			})
		}, []string{"x.test: h: well-known: /w must be changed now, too"}},
		{
			name: "a container was replaced",
			move: func(s *SitePlan) { container(s).Replaces = "fedcba9876543210" },
			want: []string{sfu + "container livekit-sfu was replaced by another one: 0123456789ab is fedcba987654 now"},
		},
		{
			name: "a container is gone",
			move: func(s *SitePlan) { container(s).Replaces = ""; container(s).Why = []string{"not there yet"} },
			want: []string{sfu + "container livekit-sfu is gone"},
		},
		{
			name: "a container stopped",
			move: func(s *SitePlan) { container(s).Why = append(container(s).Why, "it does not run") },
			want: []string{sfu + "container livekit-sfu: it does not run"},
		},
		{
			name: "a container is right but for its files",
			move: func(s *SitePlan) { container(s).Why = []string{"its files differ"} },
			want: []string{sfu + "container livekit-sfu: its files differ", sfu + "container livekit-sfu: no longer so: its settings differ"},
		},
		{
			name: "a container need not be made",
			move: func(s *SitePlan) { s.Hosts[0].Steps[2].Changes = s.Hosts[0].Steps[2].Changes[:1] },
			want: []string{sfu + "container livekit-sfu need not be made any more"},
		},
		{"another container", func(s *SitePlan) {
			s.Hosts[0].Steps[2].Changes = append(s.Hosts[0].Steps[2].Changes, &steps.Container{
				Spec: host.ContainerSpec{Name: "jwt"},
				Why:  []string{"not there yet", "more"},
			})
		}, []string{sfu + "container jwt must be made now, too: not there yet; more"}},
		{"a folder came", func(s *SitePlan) { container(s).Dirs = nil }, []string{sfu + "/etc/ecdeploy/ is there now as it should be"}},
		{
			name: "a folder went",
			move: func(s *SitePlan) { container(s).Dirs = append(container(s).Dirs, steps.Dir{Path: "/etc/e"}) },
			want: []string{sfu + "/etc/e/ is not there any more as it should be"},
		},
		{"other settings of a container", func(s *SitePlan) { container(s).Spec.User = "1:1" }, []string{sfu + "container livekit-sfu would be done in another way"}},
		{"an image came", func(s *SitePlan) { s.Hosts[0].Steps[2].Changes = s.Hosts[0].Steps[2].Changes[1:] }, []string{sfu + "image livekit:1 is on the host now"}},
		{"an image went", func(s *SitePlan) {
			s.Hosts[0].Steps[2].Changes = append(s.Hosts[0].Steps[2].Changes, &steps.Image{Ref: "jwt:1", Why: "not on the host"})
		}, []string{sfu + "image jwt:1 must be brought now: not on the host"}},
		{
			name: "another image of the name",
			move: func(s *SitePlan) { image(s).Why = "the host has another image of this name" },
			want: []string{sfu + "image livekit:1: the host has another image of this name; it was not on the host"},
		},
		{"another archive", func(s *SitePlan) { image(s).Archive.Config = "sha256:2" }, []string{sfu + "/l.tar holds another image now"}},
		{"a rule is there", func(s *SitePlan) { s.Hosts[0].Steps[1].Changes = nil }, []string{fw + "no longer needed: + ufw allow 7881/tcp"}},
		{
			name: "a rule is to go",
			move: func(s *SitePlan) { s.Hosts[0].Steps[1].Changes[0].(*steps.Exec).Verb = "-" },
			want: []string{fw + "no longer needed: + ufw allow 7881/tcp", fw + "needed now, too: - ufw allow 7881/tcp"},
		},
		{
			name: "a rule is made otherwise",
			move: func(s *SitePlan) { s.Hosts[0].Steps[1].Changes[0].(*steps.Exec).DoText = "other" },
			want: []string{fw + "ufw allow 7881/tcp would be done in another way"},
		},
		{
			name: "another order",
			move: func(s *SitePlan) { c := s.Hosts[0].Steps[2].Changes; c[0], c[1] = c[1], c[0] },
			want: []string{site + "the same would be done in another order"},
		},
		{"it is blocked", func(s *SitePlan) {
			s.Hosts[0].Steps[3].Changes = nil
			s.Hosts[0].Steps[3].Findings = []Finding{{Severity: steps.Error, Summary: "nginx does not run on h"}}
		}, []string{nginx + "it cannot be applied any more: nginx does not run on h"}},
		{"a host more", func(s *SitePlan) {
			s.Hosts = append(s.Hosts, HostPlan{
				Host:  "i",
				Steps: []StepPlan{{Stage: steps.StageHost, Step: "firewall", Changes: Changes{&steps.Exec{Verb: "+", Title: "r"}}}},
			})
		}, []string{"x.test: i: firewall: needed now, too: + r"}},
		{
			name: "other credentials",
			move: func(s *SitePlan) { s.Secrets = secretsOf(testKeys("t")); container(s).Edits[0].Before = "hmac:2" },
			want: []string{site + "there are other credentials (LIVEKIT_KEY and LIVEKIT_SECRET) now", sfu + "container livekit-sfu would be done in another way"},
		},
		{
			name: "only the key is another",
			move: func(s *SitePlan) { s.Secrets.Values[livekit.RefKey] = host.NewSecret("other") },
			want: []string{site + "there are other credentials (LIVEKIT_KEY and LIVEKIT_SECRET) now"},
		},
		{
			name: "credentials went",
			move: func(s *SitePlan) { s.Secrets = steps.Secrets{} },
			want: []string{site + "the credentials (LIVEKIT_KEY and LIVEKIT_SECRET) are gone: new ones would be made"},
		},
		{
			name: "another site",
			move: func(s *SitePlan) { s.Site = "y.test" },
			want: []string{site + "the plan file has no such site any more", "y.test: the saved plan does not have this site"},
		},
		{"several", func(s *SitePlan) {
			files(s).Edits[0].Before = "b2"
			s.Hosts[0].Steps[1].Changes = nil
			container(s).Replaces = ""
		}, []string{
			fw + "no longer needed: + ufw allow 7881/tcp", sfu + "container livekit-sfu is gone", nginx + "/etc/nginx/nginx.conf was changed since the plan was made"}},
	} {
		t.Run(c.name, func(t *testing.T) {
			s, err := DecodeSaved(saved)
			if err != nil {
				t.Fatal(err)
			}
			now := makeWholePlan()
			c.move(&now)
			moved, err := s.Drift(f, Plan{Sites: []SitePlan{now}})
			if err != nil {
				t.Fatal(err)
			}
			var got []string
			for _, d := range moved {
				text := ""
				for _, part := range []string{d.Site, d.Host, d.Step} {
					if part != "" {
						text += part + ": "
					}
				}
				got = append(got, text+d.What)
			}
			if d := cmp.Diff(c.want, got); d != "" {
				t.Error(d)
			}
		})
	}
}

// Credentials that come between are not those that the plan was made for.
func TestDriftOfNewCredentials(t *testing.T) {
	p := makeWholePlan()
	p.Secrets = steps.Secrets{}
	f := &File{Path: "/d/hosts.hcl", Sum: "5a"}
	s, err := NewSaved(f, Plan{Sites: []SitePlan{p}})
	if err != nil {
		t.Fatal(err)
	}
	moved, err := s.Drift(f, Plan{Sites: []SitePlan{makeWholePlan()}})
	want := []Drift{{Site: "x.test", What: "there are credentials (LIVEKIT_KEY and LIVEKIT_SECRET) now, which were to be made"}}
	if d := cmp.Diff(want, moved); d != "" || err != nil {
		t.Error(d, err)
	}
}

// What watches over a run is part of what was agreed to, though it changes
// nothing.
func TestDriftOfGuards(t *testing.T) {
	ca := filepath.Join(t.TempDir(), "ca.pem")
	write := func(text string) {
		t.Helper()
		if err := os.WriteFile(ca, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	guarded := func(after time.Duration, ca string) *File {
		return &File{Path: "/d/hosts.hcl", Sum: "5a", Sites: []Site{{ServerName: "x.test", RevertAfter: after, Verify: Verify{CAFile: ca}}}}
	}
	write("one")
	p := Plan{Sites: []SitePlan{makeWholePlan()}}
	s, err := NewSaved(guarded(time.Minute, ca), p)
	if err != nil {
		t.Fatal(err)
	}
	const other = "verify.ca_file is another one, or holds something else now"
	for _, c := range []struct {
		name, holds string
		now         *File
		want        []Drift
	}{
		{"the same", "one", guarded(time.Minute, ca), nil},
		{"revert_after", "one", guarded(time.Hour, ca), []Drift{{Site: "x.test", What: "revert_after is 1h0m0s now; it was 1m0s"}}},
		{"no revert_after", "one", guarded(0, ca), []Drift{{Site: "x.test", What: "revert_after is 0s now; it was 1m0s"}}},
		{"other CAs", "two", guarded(time.Minute, ca), []Drift{{Site: "x.test", What: other}}},
		{"no CAs", "one", guarded(time.Minute, ""), []Drift{{Site: "x.test", What: other}}},
	} {
		t.Run(c.name, func(t *testing.T) {
			write(c.holds)
			moved, err := s.Drift(c.now, p)
			if d := cmp.Diff(c.want, moved); d != "" || err != nil {
				t.Error(d, err)
			}
		})
	}
	if _, err := s.Drift(guarded(time.Minute, ca+"-"), p); err == nil || !strings.Contains(err.Error(), "verify.ca_file") {
		t.Errorf("a CA file that is not there: %v", err)
	}
}

package steps_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// stood is a host with things that stand there, as its ledger has them.
type stood struct {
	suite.Fake
	ledger     steps.Ledger
	containers map[string]string // what docker says of them, by name
	engine     int               // exit status of the engine
	active     string            // units that run, a line for each
	programs   string            // that are there, likewise
}

func newStood() *stood {
	s := &stood{containers: map[string]string{}}
	s.Files = map[string]string{}
	s.Answer = func(argv string) host.Result {
		name, inspects := strings.CutPrefix(argv, "docker container inspect -- ")
		switch {
		case strings.Contains(argv, "docker version"):
			return host.Result{Code: s.engine}
		case inspects && s.engine == 0 && s.containers[name] != "":
			return host.Result{Stdout: []byte(s.containers[name])}
		case inspects && s.engine == 0:
			return host.Result{Code: 1, Stderr: []byte("Error response from daemon: No such container: " + name + "\n")}
		case strings.Contains(argv, "is-active"):
			return host.Result{Stdout: []byte(s.active)}
		case strings.Contains(argv, "command -v"):
			return host.Result{Stdout: []byte(s.programs)}
		}
		return host.Result{Code: 1}
	}
	return s
}

// enter puts e into the ledger, made by the SFU's step where e says nothing else. The
// images are the texts of "sum", or of "before" and "after".
func (s *stood) enter(e steps.Entry, images ...string) steps.Entry {
	e.Site, e.ID, e.Format = suite.Slug, fmt.Sprintf("%s-%d", e.Kind, len(s.ledger.Entries)), steps.LedgerFormat
	if e.Stage == "" {
		e.Stage, e.Step = steps.StageSFU, "livekit"
	}
	if e.Title == "" {
		e.Title = "livekit-sfu"
	}
	switch len(images) {
	case 1:
		s.Files[e.Dir()+"/sum"] = steps.Digest([]byte(images[0]), steps.Secrets{}) + "\n"
	case 2:
		s.Files[e.Dir()+"/before"], s.Files[e.Dir()+"/after"] = images[0], images[1]
	}
	s.ledger.Entries = append(s.ledger.Entries, e)
	return e
}

// file is a file of ours that still says what was written.
func (s *stood) file(name, text string) {
	s.Files[name] = text
	s.enter(steps.Entry{Kind: steps.EntryFile, Name: name}, text)
}

// container is one of these labels that runs.
func (s *stood) container(name, id, labels string) {
	s.containers[name] = `[{"Id":"` + id + `","State":{"Running":true},"HostConfig":{"RestartPolicy":{"Name":"always"}},"Config":{"Labels":{` + labels + `}}}]`
}

const ofSite = `"ecdeploy.site":"example.org"`

// plan takes away what nothing names.
func (s *stood) plan(t *testing.T, whole bool, stands ...steps.Ref) []steps.StepPlan {
	t.Helper()
	out, err := steps.Removal{
		Site: suite.OneHost(), Ledger: s.ledger, Entries: s.ledger.Unwanted(suite.Slug, stands, nil), Secrets: credentials.Secrets(suite.Keys()), Whole: whole,
	}.Plan(t.Context(), s)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

// said is a plan as people read it, with the entries that go.
func said(plans []steps.StepPlan) string {
	var out []string
	for _, p := range plans {
		out = append(out, string(p.Stage)+" "+p.Step+":")
		if words := suite.Words(steps.Decision{Changes: p.Changes, Findings: p.Findings}); words != "" {
			out = append(out, words)
		}
		for _, c := range p.Changes {
			if l := leave(c); len(l) > 0 {
				out = append(out, "leave "+strings.Join(l, " "))
			}
		}
	}
	return strings.Join(out, "\n")
}

func leave(c steps.Change) []string {
	switch c := c.(type) {
	case *steps.Files:
		return c.Leave
	case *steps.Container:
		return c.Leave
	}
	return nil
}

// What is as it was made goes; what is not stays, and a finding says so; what is not
// there any more leaves the ledger.
func TestTakeAway(t *testing.T) {
	const config, keys = "/etc/ecdeploy/example.org/sfu/livekit-config.yaml", "/etc/ecdeploy/example.org/sfu/keys.yaml"
	secret := suite.Keys().Secret.Reveal()
	const files = "- " + config + "\n- " + keys
	const gone = "- container livekit-sfu\nit is set aside until `ecdeploy prune`\nits image is kept\n"
	sfu := func(s *stood) {
		s.enter(steps.Entry{Kind: steps.EntryContainer, Name: "livekit-sfu", Stop: &steps.Stop{Grace: 90, Interrupt: "LiveKit ends"}})
		s.file(config, "port: 7880\n")
		s.file(keys, "key: "+secret+"\n")
		s.container("livekit-sfu", "old", ofSite)
	}
	for _, c := range []struct {
		name string
		make func(*stood)
		want string // after "sfu livekit:\n"
	}{
		{"a container with its files", sfu, gone + files},
		{"a container of another site", func(s *stood) { sfu(s); s.container("livekit-sfu", "x", `"ecdeploy.site":"other.org"`) },
			"warning: livekit-sfu on h stays: it is another container now, which is not the site's"},
		{"a container of nobody", func(s *stood) { sfu(s); s.container("livekit-sfu", "x", "") },
			"warning: livekit-sfu on h stays: it is another container now, which is not the site's"},
		{"the engine is down", func(s *stood) { sfu(s); s.engine = 1 }, "warning: livekit-sfu on h stays: the Docker engine does not answer"},
		{"the container is gone", func(s *stood) { sfu(s); delete(s.containers, "livekit-sfu") }, "- livekit-sfu\n" + files + "\nleave container-0"},
		{"all is gone", func(s *stood) { sfu(s); clear(s.containers); delete(s.Files, config); delete(s.Files, keys) },
			"- livekit-sfu\nit is not there any more: its record goes\nleave file-1 file-2 container-0"},
		{"a file was changed", func(s *stood) { sfu(s); s.Files[config] += "# by hand\n" },
			gone + "- " + keys + "\nwarning: " + config + " on h stays: somebody else changed it since ecdeploy wrote it"},
		{"a file cannot be read", func(s *stood) { sfu(s); s.Errs = map[string]string{keys: "Input/output error"} },
			gone + "- " + config + "\nwarning: " + keys + " on h stays: Input/output error"},
		{"a file is a symlink now", func(s *stood) {
			sfu(s)
			s.Links = map[string]string{"/etc/l": config}
			s.enter(steps.Entry{Kind: steps.EntryFile, Name: "/etc/l"}, "port: 7880\n")
		},
			gone + files + "\nwarning: /etc/l on h stays: it is no regular file any more"},
		{"a file of which nobody knows what it was", func(s *stood) { s.Files["/etc/f"] = "x"; s.enter(steps.Entry{Kind: steps.EntryFile, Name: "/etc/f"}) },
			"warning: /etc/f on h stays: somebody else changed it since ecdeploy wrote it"},
		{"a file is gone, another not", func(s *stood) { s.file("/etc/a", "a"); s.file("/etc/b", "b"); delete(s.Files, "/etc/a") },
			"- livekit-sfu\n- /etc/b\nleave file-0"},
		{"a kind that nobody knows", func(s *stood) { s.file("/etc/a", "a"); s.enter(steps.Entry{Kind: "toy", Name: "x"}) },
			"- livekit-sfu\n- /etc/a\nwarning: x on h stays: this version of ecdeploy does not know what a \"toy\" is"},
		{"two containers of one step", func(s *stood) {
			sfu(s)
			s.enter(steps.Entry{Kind: steps.EntryContainer, Name: "my-sfu"})
			s.container("my-sfu", "mine", ofSite)
		}, strings.Replace(gone, "livekit-sfu", "my-sfu", 1) + gone + files},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStood()
			c.make(s)
			plans := s.plan(t, true)
			if diff := cmp.Diff("sfu livekit:\n"+c.want, said(plans)); diff != "" {
				t.Error(diff)
			}
			for _, change := range plans[0].Changes {
				b, err := steps.MarshalChange(change)
				if err != nil || strings.Contains(string(b), secret) {
					t.Errorf("%s, %v", b, err)
				}
				if _, err := change.Resolve(t.Context(), steps.Env{Host: s, Run: "R", Secrets: credentials.Secrets(suite.Keys())}); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A container is ended as its entry says.
func TestTakeAwayStops(t *testing.T) {
	s := newStood()
	s.enter(steps.Entry{Kind: steps.EntryContainer, Name: "c", Stop: &steps.Stop{Grace: 90, Interrupt: "calls end"}})
	s.container("c", "old", ofSite)
	c := s.plan(t, false)[0].Changes[0].(*steps.Container)
	if !c.Gone || c.Replaces != "old" || c.Spec.StopTimeout != 90*time.Second || c.Interrupt != "calls end" {
		t.Errorf("%+v", c)
	}
	s.containers["c"] = strings.Replace(s.containers["c"], `"Running":true`, `"Running":false`, 1)
	if c := s.plan(t, false)[0].Changes[0].(*steps.Container); c.Interrupt != "" {
		t.Errorf("a container that does not run: %s", c.Interrupt)
	}
}

// What came last goes first, each step's for itself.
func TestTakeAwayOrder(t *testing.T) {
	s := newStood()
	for i, stage := range []steps.Stage{steps.StageProxy, steps.StageHost, steps.StageWellKnown, steps.StageSFU} {
		p := fmt.Sprintf("/etc/%d", i)
		s.Files[p] = "x"
		s.enter(steps.Entry{Kind: steps.EntryFile, Name: p, Stage: stage, Step: "step", Title: "T" + p}, "x")
	}
	want := "well-known step:\n- T/etc/2\n- /etc/2\nproxy step:\n- T/etc/0\n- /etc/0\nsfu step:\n- T/etc/3\n- /etc/3\nhost step:\n- T/etc/1\n- /etc/1"
	if diff := cmp.Diff(want, said(s.plan(t, true))); diff != "" {
		t.Error(diff)
	}
}

// readLines is what an entry of nginx says of its reader.
func readLines() *steps.Reader {
	return &steps.Reader{Unit: "nginx.service", Action: "reload", Overlay: "/etc/nginx",
		Validator: &steps.Validator{Argv: []string{"nginx", "-t"}, Unit: "nginx.service"},
		Interrupt: "a moment", Checks: []steps.Check{{Name: "nginx answers"}}, Timeout: 60}
}

// The reader of files is told and asked, where it is there.
func TestTakeAwayTellsReader(t *testing.T) {
	const before, after = "http {\n}\n", "http {\n\tinclude ours;\n}\n"
	for _, c := range []struct {
		name             string
		active, programs string
		reload           bool // of files that systemd reads
		now              string
		want             string
	}{
		{"it runs", "nginx.service\n", "nginx\n", false, after, "reload nginx.service, check true, overlay [/etc/nginx], interrupts a moment in 1m0s, 1 checks"},
		{"it does not run", "", "nginx\n", false, after, " , check false, overlay [], interrupts  in 0s, 0 checks"},
		{"its program is gone", "nginx.service\n", "", false, after, "reload nginx.service, check false, overlay [], interrupts a moment in 1m0s, 1 checks"},
		{"systemd", "", "", true, after, "daemon-reload , check false, overlay [], interrupts  in 0s, 0 checks"},
		{"nothing changes", "nginx.service\n", "nginx\n", false, before, " , check false, overlay [], interrupts  in 0s, 0 checks"},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStood()
			s.active, s.programs = c.active, c.programs
			e := steps.Entry{Kind: steps.EntryLines, Name: "/etc/nginx/nginx.conf", Reader: readLines()}
			if c.reload {
				e.Reader = &steps.Reader{Action: steps.DaemonReload}
			}
			e = s.enter(e, before, after)
			s.Files[e.Name] = c.now
			p := s.plan(t, false)[0]
			f := suite.Only(t, p.Changes).(*steps.Files)
			got := fmt.Sprintf("%s %s, check %v, overlay %v, interrupts %s in %s, %d checks",
				f.Action, f.Unit, f.Check != nil, f.Overlay, f.Interrupt, f.Timeout, len(p.Checks))
			if got != c.want {
				t.Errorf("got  %s\nwant %s", got, c.want)
			}
			leaves := f.Leave
			if len(f.Edits) > 0 {
				leaves = f.Edits[0].Undoes
			}
			if diff := cmp.Diff([]string{e.ID}, leaves); diff != "" {
				t.Errorf("the entry does not go: %s", diff)
			}
		})
	}
}

// Lines go with their entries, all that were put into a file; those of which nobody
// knows what they were stay.
func TestTakeAwayLines(t *testing.T) {
	s := newStood()
	lines := func(name string, images ...string) {
		s.enter(steps.Entry{Kind: steps.EntryLines, Name: name, Title: "nginx"}, images...)
	}
	lines("/etc/a", "a\n", "a\n1\n")
	lines("/etc/a", "a\n1\n", "a\n1\n2\n")
	lines("/etc/b", "b\n", "b\n1\n")
	lines("/etc/unknown")
	lines("/etc/gone", "g\n", "g\n1\n")
	s.Files["/etc/a"], s.Files["/etc/b"], s.Files["/etc/unknown"] = "a\n1\n2\n3\n", "b\n", "u\n"
	plans := s.plan(t, true)
	want := "sfu livekit:\n~ nginx\n~ /etc/a\n" +
		"warning: /etc/unknown on h stays: what ecdeploy did to it cannot be read: /var/lib/ecdeploy/ledger/example.org/lines-3/before\n" +
		"note: /etc/gone is not there any more: there is nothing to undo in it\nleave lines-2 lines-4"
	if diff := cmp.Diff(want, said(plans)); diff != "" {
		t.Error(diff)
	}
	f := plans[0].Changes[0].(*steps.Files)
	if diff := cmp.Diff([]string{"lines-0", "lines-1"}, f.Edits[0].Undoes); diff != "" {
		t.Error(diff)
	}
	s.Apply(t, steps.Decision{Changes: plans[0].Changes})
	if s.Files["/etc/a"] != "a\n3\n" {
		t.Errorf("it is %q", s.Files["/etc/a"])
	}
}

// Where nothing of a site is to be left, no file may go on naming its backend.
func TestTakeAwayStillAnnounced(t *testing.T) {
	url := suite.OneHost().ServiceURL()
	before, after := "{\"a\": 1}\n", "{\"a\": 1, \"foci\": \""+url+"\"}\n"
	rewritten := strings.ReplaceAll(after, ": ", ":")
	for _, c := range []struct {
		name  string
		whole bool
		now   string
		want  bool
	}{
		{"it goes", true, after, false},
		{"a human rewrote it", true, rewritten, true},
		{"a human rewrote it, and the site stays", false, rewritten, false},
		{"a human named it again", true, strings.Replace(after, "}", ", \"b\": \""+url+"\"}", 1), true},
		{"a human took it out", true, before, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStood()
			s.enter(steps.Entry{Kind: steps.EntryLines, Name: "/var/www/client"}, before, after)
			s.Files["/var/www/client"] = c.now
			got := said(s.plan(t, c.whole))
			if strings.Contains(got, "error: /var/www/client would still announce "+url+" to clients") != c.want {
				t.Error(got)
			}
		})
	}
}

// A container that gave its name to ours comes back with the end of ours.
func TestTakeAwayBringsBack(t *testing.T) {
	const aside = "jwt.ecdeploy-R"
	for _, c := range []struct {
		name string
		make func(*stood)
		want string
		back bool
	}{
		{"in the place of ours", func(*stood) {},
			"- container jwt\nit is set aside until `ecdeploy prune`\nits image is kept\n" +
				"container jwt from before ecdeploy comes back (jwt.ecdeploy-R): it is started\nleave aside-1", true},
		{"ours is gone", func(s *stood) { delete(s.containers, "jwt") },
			"- container jwt\ncontainer jwt from before ecdeploy comes back (jwt.ecdeploy-R): it is started\n- livekit-sfu\nit is not there any more: its record goes\nleave aside-1\nleave container-0", true},
		{"somebody brought it back", func(s *stood) { delete(s.containers, aside); s.container("jwt", "theirs", "") },
			"warning: jwt on h stays: it is another container now, which is not the site's", false},
		{"it is not there any more", func(s *stood) { delete(s.containers, aside) },
			"warning: container jwt from before ecdeploy is not there any more on h, so it does not come back (it was called jwt.ecdeploy-R)", false},
		{"the engine is down", func(s *stood) { s.engine = 1 }, "warning: jwt on h stays: the Docker engine does not answer", false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newStood()
			s.enter(steps.Entry{Kind: steps.EntryContainer, Name: "jwt"})
			e := s.enter(steps.Entry{Kind: steps.EntryAside, Name: "jwt", Aside: aside})
			s.Files[e.Dir()+"/container.id"], s.Files[e.Dir()+"/container.restart"] = "theirs\n", "unless-stopped\n"
			s.Files[e.Dir()+"/container.running"], s.Files[e.Dir()+"/container.paused"] = "true\n", "false\n"
			s.container("jwt", "ours", ofSite)
			s.container(aside, "theirs", "")
			c.make(s)
			plans := s.plan(t, true)
			if got := said(plans); !strings.Contains(got, c.want) {
				t.Errorf("it says\n%s\nand not\n%s", got, c.want)
			}
			var back *steps.Back
			for _, change := range plans[0].Changes {
				if made, ok := change.(*steps.Container); ok {
					back = made.Back
				}
			}
			want := &steps.Back{ID: "theirs", Aside: aside, Restart: "unless-stopped", Running: true}
			if !c.back {
				want = nil
			}
			if diff := cmp.Diff(want, back); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// Lines of one file that several steps put there go, too.
func TestTakeAwayLinesOfSeveralSteps(t *testing.T) {
	s := newStood()
	s.enter(steps.Entry{Kind: steps.EntryLines, Name: "/etc/a", Stage: steps.StageProxy, Step: "before the ledger: nginx", Lost: true}, "a\n", "a\n1\n")
	s.enter(steps.Entry{Kind: steps.EntryLines, Name: "/etc/a", Stage: steps.StageProxy, Step: "nginx"}, "a\n1\n", "a\n1\n2\n")
	s.Files["/etc/a"] = "a\n1\n2\n"
	for _, p := range s.plan(t, true) {
		for _, change := range p.Changes {
			if _, err := change.Resolve(t.Context(), steps.Env{Host: s, Run: "R"}); err != nil {
				t.Fatal(err)
			}
			s.Apply(t, steps.Decision{Changes: []steps.Change{change}})
		}
	}
	if s.Files["/etc/a"] != "a\n" {
		t.Errorf("it is %q", s.Files["/etc/a"])
	}
}

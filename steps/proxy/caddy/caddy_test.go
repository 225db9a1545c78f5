package caddy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

const (
	sitesFile = "/etc/caddy/ecdeploy/example.org.caddy"
	intoFile  = "/etc/caddy/ecdeploy/example.org.matrix.example.org.caddy"
	runLine   = "/usr/bin/caddy run --environ --config /etc/caddy/Caddyfile"
)

// asked are what a host says when it is asked for these.
type asked struct{ run, version, environ, running, closed, containers, port443, api string }

// caddyHost is a host with Debian's Caddy and this Caddyfile, or with other files by
// their paths.
func caddyHost(text string, more map[string]string, a asked) suite.Fake {
	o := suite.Fake{Files: map[string]string{usualMain: text}}
	for p, text := range more {
		o.Files[p] = text
	}
	o.Answer = func(argv string) host.Result {
		say := func(text string) host.Result { return host.Result{Stdout: []byte(text)} }
		switch {
		case strings.HasPrefix(argv, "systemctl show"):
			run, state := a.run, "active"
			if run == "" {
				run = runLine
			}
			if run == "none" {
				return say("Id=caddy.service\nLoadState=not-found\nActiveState=inactive\n" + a.api)
			}
			return say("ExecStart={ path=/usr/bin/caddy ; argv[]=" + run + " ; ignore_errors=no ; pid=7 }\nId=caddy.service\nLoadState=loaded\nActiveState=" + state + "\n" + a.api)
		case strings.HasSuffix(argv, "caddy version"):
			if a.version == "" {
				return say("2.11.4\n")
			}
			return say(a.version)
		case strings.Contains(argv, "autosave.json"):
			return say(a.running)
		case strings.Contains(argv, "missing"):
			return say(a.closed)
		case strings.HasPrefix(argv, "p=$(systemctl"):
			return say(a.environ)
		case strings.HasPrefix(argv, "ss "):
			return say(a.port443)
		case strings.Contains(argv, "docker ps"):
			return say(a.containers)
		case strings.HasPrefix(argv, "pgrep"):
			return host.Result{Code: 1}
		}
		return host.Result{}
	}
	return o
}

func serve(site *steps.Site, c Config) steps.Step {
	c.Host = "h"
	return c.serve(site)
}

// settle applies a decision without errors, and wants the second one to plan nothing.
func settle(t *testing.T, o suite.Fake, step steps.Step, d steps.Decision) {
	t.Helper()
	for _, f := range d.Findings {
		if f.Severity == steps.Error {
			t.Fatalf("it finds %s", suite.Summaries(d.Findings))
		}
	}
	for _, c := range d.Changes {
		b, err := steps.MarshalChange(c)
		if err != nil {
			t.Fatal(err)
		}
		again, err := steps.UnmarshalChange(b)
		if err != nil || !cmp.Equal(c, again) {
			t.Errorf("a change does not survive JSON: %v", err)
		}
	}
	o.Apply(t, d)
	if again := suite.Decide(t, step, o); len(again.Changes) != 0 {
		t.Fatalf("the second apply plans %v", suite.Verbs(again))
	}
}

// wantVerbs compares which files a decision changes.
func wantVerbs(t *testing.T, d steps.Decision, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, suite.Verbs(d)); diff != "" {
		t.Fatalf("%s\n%s", diff, suite.Summaries(d.Findings))
	}
}

// readBack reads what is in the files now, as Caddy does.
func readBack(t *testing.T, o suite.Fake) *splice.CaddyConfig {
	t.Helper()
	src := splice.CaddySource{Main: usualMain, Files: map[string][]byte{}, Env: map[string]string{}}
	for p, text := range o.Files {
		src.Files[p] = []byte(text)
	}
	c, err := splice.ReadCaddy(src)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// Names that nobody serves get sites of our own, for which Caddy has to get
// certificates first.
func TestSitesOfOurOwn(t *testing.T) {
	o := caddyHost("# by hand\n{\n\temail a@example.org\n}\nwww.example.org {\n\tfile_server\n}\n", nil, asked{})
	before := o.Files[usualMain]
	step := serve(suite.OneHost(), Config{})
	d := suite.Decide(t, step, o)
	wantVerbs(t, d, "~ /etc/caddy/Caddyfile", "+ "+sitesFile)
	change := d.Changes[0].(*steps.Files)
	if change.Unit != "caddy.service" || change.Action != "reload" || change.Interrupt != "" || !cmp.Equal(change.Overlay, []string{"/etc/caddy"}) {
		t.Errorf("%+v", change)
	}
	for _, want := range []string{"ec_as_unit /usr/bin/caddy validate --config /etc/caddy/Caddyfile --adapter caddyfile 2>&1", "setpriv --reuid="} {
		if !strings.Contains(change.CheckText(), want) {
			t.Errorf("the check has no %s:\n%s", want, change.CheckText())
		}
	}
	if len(d.Checks) != 4 || d.Checks[0].Timeout != issueTime || d.Checks[0].HTTP.Dial != "127.0.0.1:443" {
		t.Errorf("checks %+v", d.Checks)
	}
	settle(t, o, step, d)
	if diff := cmp.Diff(before+"import "+sitesFile+"\n", o.Files[usualMain]); diff != "" {
		t.Error(diff)
	}
	c := readBack(t, o)
	for name, upstream := range map[string]string{"matrix-rtc-sfu.example.org": "127.0.0.1:7880", "matrix-rtc-jwt.example.org": "127.0.0.1:8080"} {
		i, doubt := c.SiteFor(name, "")
		if i < 0 || doubt != "" || !strings.Contains(o.Files[sitesFile], "reverse_proxy "+upstream) || c.Blocks[i].Keys[0].File != sitesFile {
			t.Errorf("%s: site %d, %s", name, i, doubt)
		}
	}
	if again := suite.Decide(t, step, o); again.Checks[0].Timeout != steps.RouteTimeout {
		t.Errorf("it waits %s for a certificate that is there", again.Checks[0].Timeout)
	}
}

// One line in the site that serves a name today; the rest of the name stays.
func TestIntoSiteOfOthers(t *testing.T) {
	const text = "matrix.example.org, matrix.example.org:8448 {\n\treverse_proxy /_matrix/* 127.0.0.1:8008\n}\n"
	o := caddyHost(text, nil, asked{})
	step := serve(suite.OneName("matrix.example.org"), Config{})
	d := suite.Decide(t, step, o)
	wantVerbs(t, d, "~ /etc/caddy/Caddyfile", "+ "+intoFile)
	if d.Checks[0].Timeout != steps.RouteTimeout {
		t.Errorf("it waits %s for a certificate that is there", d.Checks[0].Timeout)
	}
	settle(t, o, step, d)
	if diff := cmp.Diff(strings.Replace(text, "{\n", "{\n\timport "+intoFile+"\n", 1), o.Files[usualMain]); diff != "" {
		t.Error(diff)
	}
	for _, want := range []string{"@ecdeploy_signalling_example_org {", "path /livekit/sfu /livekit/sfu/*", "stream_close_delay 86400s", "log_skip true", "reverse_proxy 127.0.0.1:8080\n"} {
		if !strings.Contains(o.Files[intoFile], want) {
			t.Errorf("no %s in\n%s", want, o.Files[intoFile])
		}
	}

	// Another name, of a site of our own: the line goes, and another comes.
	step = serve(suite.OneHost(), Config{})
	d = suite.Decide(t, step, o)
	wantVerbs(t, d, "~ /etc/caddy/Caddyfile", "- "+intoFile, "+ "+sitesFile)
	settle(t, o, step, d)
	if diff := cmp.Diff(text+"import "+sitesFile+"\n", o.Files[usualMain]); diff != "" {
		t.Error(diff)
	}
}

// Where a name moves to another site of Caddy's, our line goes with it.
func TestNameMoves(t *testing.T) {
	const wild, exact = "*.example.org {\n\ttls internal\n}\n", "matrix.example.org {\n\trespond x\n}\n"
	o := caddyHost(wild, nil, asked{})
	step := serve(suite.OneName("matrix.example.org"), Config{})
	settle(t, o, step, suite.Decide(t, step, o))
	o.Files[usualMain] += exact
	settle(t, o, step, suite.Decide(t, step, o))
	if want := wild + strings.Replace(exact, "{\n", "{\n\timport "+intoFile+"\n", 1); o.Files[usualMain] != want {
		t.Error(cmp.Diff(want, o.Files[usualMain]))
	}
}

// The site that takes all other names is left alone where a name is all ours, and
// gets our routes where it serves the rest of the name.
func TestSiteForAllNames(t *testing.T) {
	const text = ":443 {\n\ttls internal {\n\t\ton_demand\n\t}\n\treverse_proxy 127.0.0.1:8008\n}\n"
	o := caddyHost(text, nil, asked{})
	step := serve(suite.OneHost(), Config{})
	d := suite.Decide(t, step, o)
	wantVerbs(t, d, "~ /etc/caddy/Caddyfile", "+ "+sitesFile)
	if got := suite.Summaries(d.Findings); !strings.Contains(got, "note: requests for matrix-rtc-sfu.example.org go to the site at /etc/caddy/Caddyfile:1 now") {
		t.Error(got)
	}
	settle(t, o, step, d)
	if again := suite.Decide(t, step, o); len(again.Findings) != 0 {
		t.Errorf("noted again: %s", suite.Summaries(again.Findings))
	}
	o = caddyHost(text, nil, asked{})
	step = serve(suite.OneName("matrix.example.org"), Config{})
	d = suite.Decide(t, step, o)
	wantVerbs(t, d, "~ /etc/caddy/Caddyfile", "+ "+intoFile)
	settle(t, o, step, d)
}

// What another program or another site of ours wrote stays.
func TestOthersFilesStay(t *testing.T) {
	others := map[string]string{
		"/etc/caddy/ecdeploy/mine.caddy":           "# by hand\n",
		"/etc/caddy/ecdeploy/example.org.uk.caddy": "# The MatrixRTC backend of example.org.uk. Written by ecdeploy: change the plan file, not this file.\n\nrtc.example.org.uk {\n}\n",
	}
	o := caddyHost("import ecdeploy/mine.caddy\nimport ecdeploy/example.org.uk.caddy\n", others, asked{})
	step := serve(suite.OneHost(), Config{})
	settle(t, o, step, suite.Decide(t, step, o))
	for p, text := range others {
		if o.Files[p] != text {
			t.Errorf("%s became %q", p, o.Files[p])
		}
	}
	d := suite.Decide(t, serve(suite.OneName("rtc.example.org.uk"), Config{}), o)
	if got := suite.Summaries(d.Findings); len(d.Changes) > 0 || !strings.Contains(got, "error: rtc.example.org.uk is served by a site that ecdeploy wrote for another homeserver") {
		t.Errorf("%v, %s", suite.Verbs(d), got)
	}
}

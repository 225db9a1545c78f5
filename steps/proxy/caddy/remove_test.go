package caddy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

// remember makes o a host that remembers a run which made after of before.
func remember(o suite.Fake, before, after string) suite.Fake {
	layers := suite.LayersOf(Title, usualMain, after, before, after)
	for p, text := range layers.Files {
		if p != usualMain {
			o.Files[p] = text
		}
	}
	answer := o.Answer
	o.Answer = func(argv string) host.Result {
		if strings.Contains(argv, "origins/") {
			return layers.Answer(argv)
		}
		return answer(argv)
	}
	return o
}

// Taking a site away leaves the Caddyfile as it was, or as it was changed since,
// and nothing that imports a file of ours.
func TestRemoval(t *testing.T) {
	const before = "{\n\temail a@example.org\n}\nmatrix.example.org {\n\treverse_proxy 127.0.0.1:8008\n}\n"
	const more = "other.example.org {\n\tfile_server\n}\n"
	for _, c := range []struct {
		name   string
		layers bool
		since  func(string) string
		want   string
		unit   string
		run    string
	}{
		{"untouched", true, func(s string) string { return s }, before, unit, ""},
		{"edited elsewhere", true, func(s string) string { return s + more }, before + more, unit, ""},
		{"our line moved", true, func(s string) string {
			return strings.Replace(strings.Replace(s, "\timport "+intoFile+"\n", "", 1), "8008\n", "8008\n\timport "+intoFile+" # needed\n", 1)
		}, strings.Replace(before, "8008\n", "8008\n\t # needed\n", 1), unit, ""},
		{"nothing is remembered", false, func(s string) string { return s }, before, unit, ""},
		{"Caddy is gone", true, func(s string) string { return s }, before, "", "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := caddyHost(before, map[string]string{"/etc/caddy/ecdeploy/mine.caddy": "# by hand\n"}, asked{})
			site := suite.OneName("matrix.example.org")
			o.Apply(t, suite.Decide(t, serve(site, Config{}), o))
			after := o.Files[usualMain]
			o = caddyHost(c.since(after), o.Files, asked{run: c.run})
			o.Files[usualMain] = c.since(after)
			if c.layers {
				o = remember(o, before, after)
			}
			remove := (&Config{Host: "h"}).remove(site)
			d := suite.Decide(t, remove, o)
			change := suite.Only(t, d.Changes).(*steps.Files)
			if change.Unit != c.unit || (change.Check != "") != (c.unit != "") || !cmp.Equal(change.Rmdirs, []string{ownDir}) {
				t.Errorf("%+v", change)
			}
			o.Apply(t, d)
			if diff := cmp.Diff(c.want, o.Files[usualMain]); diff != "" {
				t.Errorf("%s\n%s", diff, suite.Summaries(d.Findings))
			}
			if _, there := o.Files[intoFile]; there || o.Files["/etc/caddy/ecdeploy/mine.caddy"] != "# by hand\n" {
				t.Error("our file is still there, or another one is gone")
			}
			if again := suite.Decide(t, remove, o); len(again.Changes) > 0 {
				t.Errorf("removing again plans %v", suite.Verbs(again))
			}
		})
	}
}

// A Caddy that runs and whose configuration is not understood would go on with routes
// to files that are gone: nothing is removed from it.
func TestRemovalFromUnknown(t *testing.T) {
	const before = "matrix.example.org {\n\treverse_proxy 127.0.0.1:8008\n}\n"
	o := caddyHost(before, nil, asked{})
	o.Apply(t, suite.Decide(t, serve(suite.OneName("matrix.example.org"), Config{}), o))
	o.Files[usualMain] += "broken {\n"
	d := suite.Decide(t, (&Config{Host: "h"}).remove(suite.OneName("matrix.example.org")), o)
	if got := suite.Summaries(d.Findings); len(d.Changes) > 0 || !strings.Contains(got, "error: Caddy's configuration cannot be understood") {
		t.Errorf("%v, %s", suite.Verbs(d), got)
	}
}

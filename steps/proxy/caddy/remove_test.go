package caddy

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

// Taking a site away leaves the Caddyfile as it was, or as it was changed since, and
// nobody else's files go.
func TestRemoval(t *testing.T) {
	const before = "{\n\temail a@example.org\n}\nmatrix.example.org {\n\treverse_proxy 127.0.0.1:8008\n}\n"
	const more = "other.example.org {\n\tfile_server\n}\n"
	same := func(s string) string { return s }
	for _, c := range []struct {
		name  string
		since func(string) string
		want  string
		runs  bool
	}{
		{"untouched", same, before, true},
		{"edited elsewhere", func(s string) string { return s + more }, before + more, true},
		{"a human took our line out", func(string) string { return before }, before, true},
		{"Caddy is gone", same, before, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := caddyHost(before, map[string]string{"/etc/caddy/ecdeploy/mine.caddy": "# by hand\n"}, asked{})
			w := suite.NewWorld(o.Files, func(argv string) host.Result {
				switch {
				case strings.Contains(argv, "is-active") && c.runs:
					return host.Result{Stdout: []byte("caddy.service\n")}
				case strings.Contains(argv, "command -v") && c.runs:
					return host.Result{Stdout: []byte("/usr/bin/caddy\n")}
				case strings.Contains(argv, "is-active"), strings.Contains(argv, "command -v"):
					return host.Result{}
				}
				return o.Answer(argv)
			})
			site := suite.OneName("matrix.example.org")
			w.Do(t, suite.Only(t, suite.Decide(t, serve(site, Config{}), w).Changes))
			w.Files[usualMain] = c.since(w.Files[usualMain])
			ledger := w.Ledger()
			plans, err := steps.Removal{Site: site, Ledger: ledger, Entries: ledger.Unwanted(suite.Slug, nil, nil), Whole: true}.Plan(t.Context(), w)
			if err != nil || len(plans) != 1 || len(plans[0].Findings) > 0 {
				t.Fatalf("%+v, %v", plans, err)
			}
			ledger.Folders(suite.Slug, plans)
			change := suite.Only(t, plans[0].Changes).(*steps.Files)
			if c.runs != (change.Unit == unit && change.Action == "reload") || c.runs != strings.Contains(change.CheckText(), "caddy validate") {
				t.Errorf("%s %q after %s", change.Action, change.Unit, change.CheckText())
			}
			if !slices.Contains(change.Rmdirs, ownDir) {
				t.Errorf("our folder does not go where it is empty: %v", change.Rmdirs)
			}
			w.Do(t, change)
			if diff := cmp.Diff(c.want, w.Files[usualMain]); diff != "" {
				t.Error(diff)
			}
			if _, there := w.Files[intoFile]; there || w.Files["/etc/caddy/ecdeploy/mine.caddy"] != "# by hand\n" {
				t.Error("our file is still there, or another one is gone")
			}
			if left := w.Ledger().Entries; len(left) > 0 {
				t.Errorf("the ledger has %+v", left)
			}
		})
	}
}

// Where nothing is remembered our files are known by their names, and no line is left
// that imports one.
func TestRemovalOfForgotten(t *testing.T) {
	const before = "matrix.example.org {\n\treverse_proxy 127.0.0.1:8008\n}\n"
	for _, c := range []struct {
		name        string
		since, want func(string) string
	}{
		{"untouched", nil, nil},
		{"our line moved", func(s string) string {
			return strings.Replace(strings.Replace(s, "\timport "+intoFile+"\n", "", 1), "8008\n", "8008\n\timport "+intoFile+" # needed\n", 1)
		}, func(s string) string { return strings.Replace(s, "8008\n", "8008\n\t # needed\n", 1) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := caddyHost(before, map[string]string{"/etc/caddy/ecdeploy/mine.caddy": "# by hand\n"}, asked{})
			o.Apply(t, suite.Decide(t, serve(suite.OneName("matrix.example.org"), Config{}), o))
			want := before
			if c.since != nil {
				o.Files[usualMain], want = c.since(o.Files[usualMain]), c.want(before)
			}
			remove := Variant().Effects.Step(&steps.Site{Name: "example.org"})
			o.Apply(t, suite.Decide(t, remove, o))
			if diff := cmp.Diff(map[string]string{usualMain: want, "/etc/caddy/ecdeploy/mine.caddy": "# by hand\n"}, o.Files); diff != "" {
				t.Error(diff)
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
	d := suite.Decide(t, Variant().Effects.Step(&steps.Site{Name: "example.org"}), o)
	if got := suite.Summaries(d.Findings); len(d.Changes) > 0 || !strings.Contains(got, "error: Caddy's configuration cannot be understood") {
		t.Errorf("%v, %s", suite.Verbs(d), got)
	}
}

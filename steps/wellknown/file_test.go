package wellknown

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

func TestExternalWellKnownPrintsTheKey(t *testing.T) {
	text, d := suite.Said(t, suite.StepOf(&External{}, suite.OneHost()))
	key, _, _ := strings.Cut(text, "\nand")
	edits, err := splice.RTCFoci([]byte("{"+key+"}"), suite.OneHost().ServiceURL())
	if err != nil || len(edits) != 0 {
		t.Errorf("%q is not what is needed: %v", key, err)
	}
	if len(d.Checks) != 1 || d.Checks[0].HTTP.LiveKitURL != suite.OneHost().ServiceURL() || d.Checks[0].HTTP.OneHeader != "Access-Control-Allow-Origin" {
		t.Errorf("checks %+v", d.Checks)
	}
}

// wellKnownOnDiskCases are the cases of TestWellKnownOnDisk.
var wellKnownOnDiskCases = []struct {
	name, before, after, says string
	missing                   bool
	at                        string
}{
	{name: "merged, in its order",
		before: "{\n  \"m.homeserver\": {\"base_url\": \"https://matrix.example.org\"},\n  \"io.element.e2ee\": {\"default\": true}\n}\n",
		after: "{\n  \"m.homeserver\": {\"base_url\": \"https://matrix.example.org\"},\n" +
			"  \"io.element.e2ee\": {\"default\": true},\n  \"org.matrix.msc4143.rtc_foci\": [\n    {\n" +
			"      \"type\": \"livekit\",\n      \"livekit_service_url\": \"https://matrix-rtc-jwt.example.org\"\n    }\n  ]\n}\n"},
	{name: "there", before: `{"org.matrix.msc4143.rtc_foci":[{"type":"livekit","livekit_service_url":"https://matrix-rtc-jwt.example.org"}]}`},
	{
		name:   "an older URL",
		before: `{"org.matrix.msc4143.rtc_foci":[{"type":"livekit","livekit_service_url":"https://old/"}],"a":1}`,
		after:  `{"org.matrix.msc4143.rtc_foci":[{"type":"livekit","livekit_service_url":"https://matrix-rtc-jwt.example.org"}],"a":1}`,
	},
	{name: "no JSON", before: "{ nonsense", says: "error: /var/www/client cannot be edited safely"},
	{name: "not there", missing: true, says: "error: /var/www/client is not there"},
	{
		name:   "mdad's",
		before: "{}",
		at:     "/matrix/static-files/public/.well-known/matrix/client",
		says:   "error: /matrix/static-files/public/.well-known/matrix/client belongs to matrix-docker-ansible-deploy",
	},
}

func TestWellKnownOnDisk(t *testing.T) {
	const path = "/var/www/client"
	for _, c := range wellKnownOnDiskCases {
		t.Run(c.name, func(t *testing.T) {
			at := c.at
			if at == "" {
				at = path
			}
			o := suite.Fake{Files: map[string]string{}}
			if !c.missing {
				o.Files[at] = c.before
			}
			facts, err := (&File{Path: at}).merge(suite.OneHost()).Probe(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			d, err := facts.Diff(steps.Shared{})
			if err != nil {
				t.Fatal(err)
			}
			if got := suite.Summaries(d.Findings); !strings.HasPrefix(got, c.says) || c.says == "" && got != "" {
				t.Errorf("says %q, want %q", got, c.says)
			}
			if c.after == "" {
				c.after = c.before
			}
			o.Apply(t, d)
			if diff := cmp.Diff(c.after, o.Files[at]); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// What the runs put there goes again, and what a human wrote since stays.
func TestRemoveWellKnown(t *testing.T) {
	const path = "/var/www/client"
	const before = `{"m.homeserver": {"base_url": "https://a"}}` + "\n"
	url := suite.OneHost().ServiceURL()
	human := func(s string) string { return strings.Replace(s, "https://a", "https://b", 1) }
	same := func(s string) string { return s }
	for _, c := range []struct {
		name           string
		between, since func(string) string // what a human does after the first run of two, and after all; between is nil for one run
		want           func(now string) string
		says           string
	}{
		{"one run", nil, same, func(string) string { return before }, ""},
		{"two runs", same, same, func(string) string { return before }, ""},
		{"a human since", same, human, func(string) string { return human(before) }, ""},
		{"a human between the runs", human, same, func(string) string { return human(before) }, ""},
		{"a human took it out", nil, func(string) string { return before }, same, ""},
		{"a human wrote another URL", nil, func(s string) string { return strings.Replace(s, url, "https://own", 1) }, same,
			"warning: somebody else changed in " + path},
		{"a human rewrote all", nil, func(s string) string { return strings.ReplaceAll(s, " ", "") }, same, "error: " + path + " would still announce " + url},
	} {
		t.Run(c.name, func(t *testing.T) {
			w := suite.NewWorld(map[string]string{path: before}, nil)
			config, old, site := &File{Host: "h", Path: path}, suite.OneName("old.example.org"), suite.OneHost()
			if c.between != nil {
				w.Do(t, suite.Only(t, suite.Decide(t, config.merge(old), w).Changes))
				w.Files[path] = c.between(w.Files[path])
			}
			w.Do(t, suite.Only(t, suite.Decide(t, config.merge(site), w).Changes))
			w.Files[path] = c.since(w.Files[path])
			want := c.want(w.Files[path])
			ledger := w.Ledger()
			plans, err := steps.Removal{Site: site, Ledger: ledger, Entries: ledger.Unwanted(suite.Slug, nil, nil), Whole: true}.Plan(t.Context(), w)
			if err != nil || len(plans) != 1 {
				t.Fatalf("%+v, %v", plans, err)
			}
			if got := suite.Summaries(plans[0].Findings); !strings.Contains(got, c.says) || c.says == "" && got != "" {
				t.Errorf("it says %q, want %q", got, c.says)
			}
			for _, change := range plans[0].Changes {
				w.Do(t, change)
			}
			if diff := cmp.Diff(want, w.Files[path]); diff != "" {
				t.Error(diff)
			}
			if left := w.Ledger().Entries; len(left) > 0 {
				t.Errorf("its ledger has %+v", left)
			}
		})
	}
}

// The file shall hold something of the site, changed or not.
func TestWellKnownStands(t *testing.T) {
	const path = "/var/www/client"
	o := suite.Fake{Files: map[string]string{path: "{}"}}
	for range 2 {
		d := suite.Decide(t, (&File{Host: "h", Path: path}).merge(suite.OneHost()), o)
		if diff := cmp.Diff(steps.Refs(steps.EntryLines, path), d.Stands); diff != "" {
			t.Error(diff)
		}
		o.Apply(t, d)
	}
}

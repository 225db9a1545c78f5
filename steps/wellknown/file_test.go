package wellknown

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/proxy/nginx"
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

func TestRemoveWellKnown(t *testing.T) {
	const path = "/var/www/client"
	before := `{"m.homeserver": {"base_url": "https://a"}}` + "\n"
	ours := func(url string) string {
		edits, err := splice.RTCFoci([]byte(before), url)
		if err != nil {
			t.Fatal(err)
		}
		b, err := splice.Apply([]byte(before), edits)
		if err != nil {
			t.Fatal(err)
		}
		return string(b)
	}
	one, two := ours("https://one.example.org"), ours("https://two.example.org")
	for _, c := range []struct {
		name  string
		now   string
		texts []string
		want  string // the file afterwards
		says  string
	}{
		{"one run", one, []string{before, one}, before, ""},
		{"two runs", two, []string{before, one, one, two}, before, ""},
		{
			name:  "a human in between",
			now:   strings.Replace(two, "https://a", "https://b", 1),
			texts: []string{before, one, one, two},
			want:  strings.Replace(before, "https://a", "https://b", 1),
			says:  "",
		},
		{"a human between the runs", strings.Replace(two, "https://a", "https://b", 1),
			[]string{before, one, strings.Replace(one, "https://a", "https://b", 1), strings.Replace(two, "https://a", "https://b", 1)},
			strings.Replace(before, "https://a", "https://b", 1),
			""},
		{"nothing was done", before, nil, before, ""},
		{"a human took it out", before, []string{before, one}, before, ""},
		{
			name:  "a human wrote another URL",
			now:   strings.Replace(one, "one", "own", 1),
			texts: []string{before, one},
			want:  strings.Replace(one, "one", "own", 1),
			says:  "warning: somebody else changed in /var/www/client",
		},
		{
			name:  "a human rewrote all",
			now:   strings.ReplaceAll(ours(suite.OneHost().ServiceURL()), " ", ""),
			texts: []string{before, ours(suite.OneHost().ServiceURL())},
			want:  strings.ReplaceAll(ours(suite.OneHost().ServiceURL()), " ", ""),
			says:  "error: /var/www/client would still announce https://matrix-rtc-jwt.example.org",
		},
		{"nobody remembers", ours(suite.OneHost().ServiceURL()), nil, ours(suite.OneHost().ServiceURL()), "error: /var/www/client would still announce"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := suite.LayersOf(title, path, c.now, c.texts...)
			d := suite.Decide(t, (&File{Host: "h", Path: path}).remove(suite.OneHost()), o)
			got := c.now
			if len(d.Changes) > 0 {
				files := d.Changes[0].(*steps.Files)
				b, err := splice.Apply([]byte(c.now), files.Edits[0].Edits)
				if err != nil {
					t.Fatal(err)
				}
				got = string(b)
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if !strings.Contains(suite.Words(d), c.says) || c.says == "" && len(d.Findings) > 0 {
				t.Error(suite.Words(d))
			}
		})
	}
	o := suite.LayersOf(title, path, one, before, one)
	delete(o.Files, path)
	if got := suite.Words(suite.Decide(t, (&File{Path: path}).remove(suite.OneHost()), o)); got != "note: /var/www/client is not there any more: there is nothing to undo in it" {
		t.Error(got)
	}
	// Layers of other parts of the site are not its business.
	if got := suite.Words(suite.Decide(t, (&File{Path: path}).remove(suite.OneHost()), suite.LayersOf(nginx.Title, path, one, before, one))); got != "" {
		t.Error(got)
	}
}

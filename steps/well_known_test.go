package steps

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/splice"
)

func TestExternalWellKnownPrintsTheKey(t *testing.T) {
	text, d := Said(t, StepOf(&WellKnownExternal{}, OneHost()))
	key, _, _ := strings.Cut(text, "\nand")
	edits, err := splice.RTCFoci([]byte("{"+key+"}"), testAuth().URL)
	if err != nil || len(edits) != 0 {
		t.Errorf("%q is not what is needed: %v", key, err)
	}
	if len(d.Checks) != 1 || d.Checks[0].HTTP.LiveKitURL != testAuth().URL || d.Checks[0].HTTP.OneHeader != "Access-Control-Allow-Origin" {
		t.Errorf("checks %+v", d.Checks)
	}
}

func TestWellKnownOnDisk(t *testing.T) {
	const path = "/var/www/client"
	for _, c := range []struct {
		name, before, after, says string
		missing                   bool
		at                        string
	}{
		{name: "merged, in its order", before: "{\n  \"m.homeserver\": {\"base_url\": \"https://matrix.example.org\"},\n  \"io.element.e2ee\": {\"default\": true}\n}\n",
			after: "{\n  \"m.homeserver\": {\"base_url\": \"https://matrix.example.org\"},\n  \"io.element.e2ee\": {\"default\": true},\n  \"org.matrix.msc4143.rtc_foci\": [\n    {\n      \"type\": \"livekit\",\n      \"livekit_service_url\": \"https://matrix-rtc-jwt.example.org\"\n    }\n  ]\n}\n"},
		{name: "there", before: `{"org.matrix.msc4143.rtc_foci":[{"type":"livekit","livekit_service_url":"https://matrix-rtc-jwt.example.org"}]}`},
		{name: "an older URL", before: `{"org.matrix.msc4143.rtc_foci":[{"type":"livekit","livekit_service_url":"https://old/"}],"a":1}`, after: `{"org.matrix.msc4143.rtc_foci":[{"type":"livekit","livekit_service_url":"https://matrix-rtc-jwt.example.org"}],"a":1}`},
		{name: "no JSON", before: "{ nonsense", says: "error: /var/www/client cannot be edited safely"},
		{name: "not there", missing: true, says: "error: /var/www/client is not there"},
		{name: "mdad's", before: "{}", at: "/matrix/static-files/public/.well-known/matrix/client", says: "error: /matrix/static-files/public/.well-known/matrix/client belongs to matrix-docker-ansible-deploy"},
	} {
		t.Run(c.name, func(t *testing.T) {
			at := c.at
			if at == "" {
				at = path
			}
			o := Fake{Files: map[string]string{}}
			if !c.missing {
				o.Files[at] = c.before
			}
			facts, err := (&WellKnownFile{Path: at}).merge(OneHost()).Probe(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			d, err := facts.Diff(Shared{})
			if err != nil {
				t.Fatal(err)
			}
			if got := Summaries(d.Findings); !strings.HasPrefix(got, c.says) || c.says == "" && got != "" {
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
		{"a human in between", strings.Replace(two, "https://a", "https://b", 1), []string{before, one, one, two}, strings.Replace(before, "https://a", "https://b", 1), ""},
		{"a human between the runs", strings.Replace(two, "https://a", "https://b", 1),
			[]string{before, one, strings.Replace(one, "https://a", "https://b", 1), strings.Replace(two, "https://a", "https://b", 1)}, strings.Replace(before, "https://a", "https://b", 1), ""},
		{"nothing was done", before, nil, before, ""},
		{"a human took it out", before, []string{before, one}, before, ""},
		{"a human wrote another URL", strings.Replace(one, "one", "own", 1), []string{before, one}, strings.Replace(one, "one", "own", 1), "warning: somebody else changed in /var/www/client"},
		{"a human wrote all anew", strings.ReplaceAll(ours(testAuth().URL), " ", ""), []string{before, ours(testAuth().URL)}, strings.ReplaceAll(ours(testAuth().URL), " ", ""), "error: /var/www/client would still announce https://matrix-rtc-jwt.example.org"},
		{"nobody remembers", ours(testAuth().URL), nil, ours(testAuth().URL), "error: /var/www/client would still announce"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := LayersOf(titleWellKnown, path, c.now, c.texts...)
			d := Decide(t, (&WellKnownFile{Host: "h", Path: path}).remove(OneHost()), o)
			got := c.now
			if len(d.Changes) > 0 {
				files := d.Changes[0].(*Files)
				b, err := splice.Apply([]byte(c.now), files.Edits[0].Edits)
				if err != nil {
					t.Fatal(err)
				}
				got = string(b)
			}
			if got != c.want {
				t.Errorf("%q, want %q", got, c.want)
			}
			if !strings.Contains(Words(d), c.says) || c.says == "" && len(d.Findings) > 0 {
				t.Error(Words(d))
			}
		})
	}
	o := LayersOf(titleWellKnown, path, one, before, one)
	delete(o.Files, path)
	if got := Words(Decide(t, (&WellKnownFile{Path: path}).remove(OneHost()), o)); got != "note: /var/www/client is not there any more: there is nothing to take back in it" {
		t.Error(got)
	}
	// Layers of other parts of the site are not its business.
	if got := Words(Decide(t, (&WellKnownFile{Path: path}).remove(OneHost()), LayersOf(titleNginx, path, one, before, one))); got != "" {
		t.Error(got)
	}
}

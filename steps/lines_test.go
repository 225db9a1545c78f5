package steps

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
)

// undoLayers undoes in a file that is now such what made of each second text the one
// after it. It returns the file afterwards and what the findings say.
func undoLayers(t *testing.T, path, now string, texts ...string) (after, says string) {
	t.Helper()
	f := foreignFiles{files: map[string]host.File{path: {Path: path, Real: path, Exists: true, Mode: 0o644, Data: []byte(now)}}}
	for i := 0; i+1 < len(texts); i += 2 {
		f.layers = append(f.layers, layer{path, []byte(texts[i]), []byte(texts[i+1])})
	}
	edits, known, findings, err := f.undo()
	if err != nil || len(edits) > 1 {
		t.Fatalf("%d edits, %v", len(edits), err)
	}
	after = now
	for _, e := range edits {
		b, err := splice.Apply([]byte(now), e.Edits)
		if err != nil || e.Path != path || e.Before != Digest([]byte(now), Secrets{}) {
			t.Fatalf("the edit of %s: %v", e.Path, err)
		}
		after = string(b)
	}
	if text, ok := known[path]; ok && string(text) != after {
		t.Errorf("it says that the file will be %q, and makes %q", text, after)
	}
	for _, finding := range findings {
		says += string(finding.Severity) + ": " + finding.Summary + "\n"
	}
	return after, says
}

// Layers are undone, the newest first, and what a human wrote stays.
func TestUndoLines(t *testing.T) {
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
	human := func(text string) string { return strings.Replace(text, "https://a", "https://b", 1) }
	one, two := ours("https://one.example.org"), ours("https://two.example.org")
	own, rewritten := strings.Replace(one, "one", "own", 1), strings.ReplaceAll(one, " ", "")
	for _, c := range []struct {
		name  string
		now   string
		texts []string
		want  string // the file afterwards
		says  string
	}{
		{"one run", one, []string{before, one}, before, ""},
		{"two runs", two, []string{before, one, one, two}, before, ""},
		{"a human in between", human(two), []string{before, one, one, two}, human(before), ""},
		{"a human between the runs", human(two), []string{before, one, human(one), human(two)}, human(before), ""},
		{"nothing was done", before, nil, before, ""},
		{"a human took it out", before, []string{before, one}, before, ""},
		{"a human wrote another URL", own, []string{before, one}, own, "warning: somebody else changed in /var/www/client what ecdeploy had put there; theirs stays\n"},
		{"a human rewrote all", rewritten, []string{before, one}, rewritten, "warning: somebody else changed in /var/www/client"},
		{"it would be no JSON any more", `{"a":1}`, []string{"{", `{"a":1}`}, `{"a":1}`, "error: /var/www/client would be no JSON any more"},
	} {
		t.Run(c.name, func(t *testing.T) {
			after, says := undoLayers(t, path, c.now, c.texts...)
			if diff := cmp.Diff(c.want, after); diff != "" {
				t.Error(diff)
			}
			if !strings.HasPrefix(says, c.says) || c.says == "" && says != "" {
				t.Errorf("it says %q, want %q", says, c.says)
			}
		})
	}
}

// A file that is not there or cannot be read is not edited, and one is for itself: what
// happened to another does not matter.
func TestUndoLinesOfSeveralFiles(t *testing.T) {
	file := func(path, text string) host.File {
		return host.File{Path: path, Real: path, Exists: true, Mode: 0o644, Data: []byte(text)}
	}
	broken := file("/etc/broken", "")
	broken.Err = "Input/output error"
	moved := file("/etc/link", "a\nours\n")
	moved.Real = "/srv/f"
	f := foreignFiles{files: map[string]host.File{"/etc/gone": {Path: "/etc/gone"}, "/etc/broken": broken, "/etc/link": moved, "/etc/f": file("/etc/f", "x\na\nours\n")}}
	for _, p := range []string{"/etc/gone", "/etc/broken", "/etc/link", "/etc/f"} {
		f.layers = append(f.layers, layer{p, []byte("a\n"), []byte("a\nours\n")})
	}
	edits, texts, findings, err := f.undo()
	if err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for p, text := range texts {
		got[p] = string(text)
	}
	if diff := cmp.Diff(map[string]string{"/srv/f": "a\n", "/etc/f": "x\na\n"}, got); diff != "" {
		t.Error(diff)
	}
	if len(edits) != 2 || edits[0].Path != "/srv/f" || edits[1].Path != "/etc/f" {
		t.Errorf("edits %+v", edits)
	}
	var says []string
	for _, finding := range findings {
		says = append(says, string(finding.Severity)+": "+finding.Summary)
	}
	want := []string{"note: /etc/gone is not there any more: there is nothing to undo in it", "error: /etc/broken cannot be read: Input/output error"}
	if diff := cmp.Diff(want, says); diff != "" {
		t.Error(diff)
	}
}

// What was put there is shown with its secrets masked.
func TestUndoLinesShowsNoSecret(t *testing.T) {
	const before, after = "a: 1\n", "a: 1\nmy_token: cAnArY\n"
	f := foreignFiles{layers: []layer{{"/f", []byte(before), []byte(after)}},
		files: map[string]host.File{"/f": {Path: "/f", Real: "/f", Exists: true, Mode: 0o644, Data: []byte("a: 1\nmy_token: another\n")}}}
	_, _, findings, err := f.undo()
	if err != nil || len(findings) != 1 || strings.Contains(findings[0].Hint, "cAnArY") || !strings.Contains(findings[0].Hint, "my_token") {
		t.Errorf("%+v, %v", findings, err)
	}
}

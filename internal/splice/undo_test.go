package splice

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
)

func TestUndo(t *testing.T) {
	yaml := "a: 1\nrc:\n  x: 0.2\nb: 2\n"
	ours := "a: 1\nrc:\n  x: 0.5\n  new: true\nb: 2\nmatrix_rtc:\n  t: 1\n"
	json := `{"m.homeserver": {"base_url": "https://a"}}`
	oursJSON := `{"m.homeserver": {"base_url": "https://a"}, "rtc": [1]}`
	for name, c := range map[string]struct {
		before, after, current, want string
		kept                         []string
	}{
		"untouched": {yaml, ours, ours, yaml, nil},
		"lines elsewhere": {
			before:  yaml,
			after:   ours,
			current: "top: 0\na: 1\nrc:\n  x: 0.5\n  new: true\nb: 3\nmatrix_rtc:\n  t: 1\nc: 4\n",
			want:    "top: 0\na: 1\nrc:\n  x: 0.2\nb: 3\nc: 4\n",
			kept:    nil,
		},
		"just behind ours":      {"a\nb\n", "a\nours\nb\n", "a\nours\nhuman\nb\n", "a\nhuman\nb\n", nil},
		"just before ours":      {"a\nb\n", "a\nours\nb\n", "a\nhuman\nours\nb\n", "a\nhuman\nb\n", nil},
		"taken out by somebody": {"a\nb\n", "a\nours\nb\n", "a\nb\nc\n", "a\nb\nc\n", nil},
		"changed by somebody":   {"a\nb\n", "a\nours: 1\nb\n", "a\nours: 2\nb\n", "a\nours: 2\nb\n", []string{"ours: 1\n"}},
		"a value changed":       {"x: 0.2\n", "x: 0.5\n", "x: 0.9\n", "x: 0.9\n", []string{"5"}},
		"one of two changed": {
			before:  "a\nb\nc\nd\n",
			after:   "a\nours: 1\nb\nc\nours: 2\nd\n",
			current: "a\nours: 1\nb\nc\nours: 3\nd\n",
			want:    "a\nb\nc\nours: 3\nd\n",
			kept:    []string{"ours: 2\n"},
		},
		"what follows ours moved":    {"a\nb\n", "a\nours\nb\n", "a\nb\nours\n", "a\nb\n", nil},
		"ours took something away":   {"a\nold\nb\n", "a\nb\n", "a\nb\nc\n", "a\nold\nb\nc\n", nil},
		"and somebody wrote there":   {"a\nold\nb\n", "a\nb\n", "a\nhuman\nb\n", "a\nhuman\nb\n", []string{""}},
		"one line, another value":    {json, oursJSON, `{"m.homeserver": {"base_url": "https://a"}, "rtc": [1]}` + "\n", json + "\n", nil},
		"no line break at the end":   {"a", "a\nours", "a\nours\nhuman", "a\nhuman", nil},
		"CRLF":                       {"a\r\nb\r\n", "a\r\nours\r\nb\r\n", "a\r\nours\r\nc\r\n", "a\r\nc\r\n", nil},
		"nothing was put there":      {"a\n", "a\n", "a\nb\n", "a\nb\n", nil},
		"characters of two bytes":    {"x: \u00e4\n", "x: \u00e5\n", "x: \u00e5\nc\n", "x: \u00e4\nc\n", nil},
		"everything else is another": {"a\nb\n", "a\nours: 12345\nb\n", "x\n  ours: 12345\ny\nours: 12345\nz\n", "x\n  ours: 12345\ny\nz\n", nil},
		"ours is where it was not":   {"a\nb\n", "a\nours: 12345\nb\n", "x\ny\nours: 12345\nz\n", "x\ny\nz\n", nil},
		"two edits around ours": {
			before:  json,
			after:   strings.Replace(oursJSON, "[1]", "[12345]", 1),
			current: `{"m.homeserver": {"base_url": "https://b"}, "rtc": [12345], "c": 2}`,
			want:    `{"m.homeserver": {"base_url": "https://b"}, "c": 2}`,
			kept:    nil,
		},
		"one entry of several": {
			before:  "a: 1\n",
			after:   "a: 1\nx: 24h\nrc:\n  y: 2\nm:\n  - t: 1\n",
			current: "a: 1\nx: 7d\nrc:\n  y: 2\nm:\n  - t: 1\n",
			want:    "a: 1\nx: 7d\n",
			kept:    []string{"x: 24h\n"},
		},
		"somebody emptied the file": {"a\nb\n", "a\nours\nb\n", "", "", nil},
	} {
		t.Run(name, func(t *testing.T) {
			edits, kept := Undo([]byte(c.before), []byte(c.after), []byte(c.current))
			got, err := Apply([]byte(c.current), edits)
			if err != nil || string(got) != c.want || !cmp.Equal(kept, c.kept) {
				t.Errorf("%q, kept %q, %v", got, kept, err)
			}
		})
	}
}

// Untouched, it gives the bytes back; and where it takes all back from between what
// somebody added, exactly that is left.
func FuzzUndo(f *testing.F) {
	f.Add("a\nb\n", "a\nours\nb\n", "human\n", "tail\n")
	f.Add("a: [1]\r\n", "a: [1, 2]\r\n", "", "x")
	f.Add("\u00e4", "\u00e5", "", "")
	f.Fuzz(func(t *testing.T, before, after, head, tail string) {
		for _, s := range []string{before, after, head, tail} {
			if !utf8.ValidString(s) || len(s) > 200 {
				t.Skip()
			}
		}
		edits, kept := Undo([]byte(before), []byte(after), []byte(after))
		got, err := Apply([]byte(after), edits)
		if err != nil || string(got) != before || kept != nil {
			t.Fatalf("untouched: %q, kept %q, %v", got, kept, err)
		}
		for _, e := range edits {
			if !utf8.ValidString(e.Text) {
				t.Fatalf("%q does not survive JSON", e.Text)
			}
		}
		current := []byte(head + after + tail)
		edits, kept = Undo([]byte(before), []byte(after), current)
		if got, err = Apply(current, edits); err != nil {
			t.Fatal(err)
		}
		if want := len(before) + len(head) + len(tail); kept == nil && strings.HasSuffix(head, "\n") &&
			strings.HasSuffix(after, "\n") && strings.HasSuffix(before, "\n") && len(got) != want {
			t.Fatalf("%d bytes, not %d: %q", len(got), want, got)
		}
	})
}

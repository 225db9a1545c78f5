package splice

import (
	"errors"
	"os"
	"strings"
	"testing"
)

var transport = Map{{Key: "type", Value: "livekit"}, {Key: "livekit_service_url", Value: "https://rtc.example.com/livekit/jwt"}}

func TestYAMLSet(t *testing.T) {
	tests := []struct {
		name   string
		before string
		path   Path
		value  any
		after  string
	}{
		{"empty file", "", Path{"a", "b"}, true, "a:\n  b: true\n"},
		{"byte order mark alone", "\ufeff", Path{"a"}, 1, "\ufeffa: 1\n"},
		{"comments only", "# hello\n\n", Path{"a"}, 1, "# hello\n\na: 1\n"},
		{"comment without a line end", "# hello", Path{"a"}, 1, "# hello\na: 1"},
		{"document marker alone", "---\n", Path{"a"}, 1, "---\na: 1\n"},
		{"document marker and comment", "--- # x\n# y\n", Path{"a"}, 1, "--- # x\n# y\na: 1\n"},
		{"end marker", "---\na: 1\n...\n", Path{"b"}, 1, "---\na: 1\nb: 1\n...\n"},
		{"end marker of an empty document", "---\n...\n", Path{"b"}, 1, "---\nb: 1\n...\n"},
		{"directive", "%YAML 1.1\n---\na: 1\n", Path{"b"}, 1, "%YAML 1.1\n---\na: 1\nb: 1\n"},
		{"new top-level key", "a: 1\n# the end\n", Path{"b"}, "x y", "a: 1\n# the end\nb: \"x y\"\n"},
		{"no final line end", "a: 1", Path{"b"}, 2, "a: 1\nb: 2"},
		{
			name:   "new list of mappings",
			before: "a: 1\n",
			path:   Path{"m", "t"},
			value:  []any{transport},
			after:  "a: 1\nm:\n  t:\n    - type: livekit\n      livekit_service_url: \"https://rtc.example.com/livekit/jwt\"\n",
		},
		{
			name:   "dash style of the file",
			before: "l:\n- 1\nk: 2\n",
			path:   Path{"m", "t"},
			value:  []any{transport},
			after:  "l:\n- 1\nk: 2\nm:\n  t:\n  - type: livekit\n    livekit_service_url: \"https://rtc.example.com/livekit/jwt\"\n",
		},
		{"step of the file", "l:\n    a: 1\n", Path{"m", "t"}, 1, "l:\n    a: 1\nm:\n    t: 1\n"},
		{"child right under its parent", "a: # why\n  # x: 1\n  y: 2\nb: 3\n", Path{"a", "z"}, true, "a: # why\n  z: true\n  # x: 1\n  y: 2\nb: 3\n"},
		{"null parent with comments", "a:\n  # x: 1\nb: 3\n", Path{"a", "z"}, true, "a:\n  z: true\n  # x: 1\nb: 3\n"},
		{"null parent with a comment on its line", "a:   # x\nb: 3\n", Path{"a", "z"}, true, "a:   # x\n  z: true\nb: 3\n"},
		{"written null", "a: null # x\nb: ~\n", Path{"a", "z"}, 1, "a: # x\n  z: 1\nb: ~\n"},
		{"null at the end", "b: 1\na:", Path{"a", "z"}, 1, "b: 1\na:\n  z: 1"},
		{"replace a scalar", "a: 1 # one\nb: 2\n", Path{"a"}, 5, "a: 5 # one\nb: 2\n"},
		{"replace a null", "a: # one\nb: 2\n", Path{"a"}, 5, "a: 5 # one\nb: 2\n"},
		{"replace a quoted text", "a: 'it''s' # one\n", Path{"a"}, "x y", "a: \"x y\" # one\n"},
		{"replace a folded plain text", "a: one\n  two # x\nb: 1\n", Path{"a"}, "ab", "a: ab # x\nb: 1\n"},
		{"replace a block text", "a: |\n  one\n\n  two\n\nb: 1\n", Path{"a"}, 3, "a: 3\n\nb: 1\n"},
		{"yes stands for true, no does not", "a: yes\nb: no\n", Path{"b"}, true, "a: yes\nb: true\n"},
		{"empty flow list becomes lines", "a:\n  t: [] # none\n", Path{"a", "t"}, []any{"ab"}, "a:\n  t: # none\n    - ab\n"},
		{"empty flow mapping gets a child", "a: {}\n", Path{"a", "z"}, true, "a: {z: true}\n"},
		{"flow mapping", "a: {x: 1, y: [2]} # c\n", Path{"a", "z"}, true, "a: {x: 1, y: [2], z: true} # c\n"},
		{"flow mapping, trailing comma", "a: {x: 1,}\n", Path{"a", "z"}, true, "a: {x: 1, z: true,}\n"},
		{"flow, deep", "a: {x: {y: 1}}\n", Path{"a", "x", "z"}, Map{{Key: "q", Value: []any{1}}}, "a: {x: {y: 1, z: {q: [1]}}}\n"},
		{"flow null", "a: {x: , y: 1}\n", Path{"a", "x"}, 1, "a: {x: 1 , y: 1}\n"},
		{"JSON is YAML", "{\n  \"a\": 1\n}\n", Path{"b"}, 2, "{\n  \"a\": 1, \"b\": 2\n}\n"},
		{"CRLF", "a:\r\n  x: 1\r\nb: 2\r\n", Path{"a", "z"}, []any{1}, "a:\r\n  z:\r\n    - 1\r\n  x: 1\r\nb: 2\r\n"},
		{"CRLF, top level", "a: 1\r\n", Path{"b"}, 2, "a: 1\r\nb: 2\r\n"},
		{"byte order mark", "\ufeffa: 1\nb: 2\n", Path{"a"}, 3, "\ufeffa: 3\nb: 2\n"},
		{"list item", "l:\n  - port: 1\n    tls: false\n  - port: 2\n", Path{"l", 0, "tls"}, true, "l:\n  - port: 1\n    tls: true\n  - port: 2\n"},
		{
			name:   "new key in a list item",
			before: "l:\n  - port: 1\n    tls: false # x\n  - port: 2\n",
			path:   Path{"l", 0, "z"},
			value:  true,
			after:  "l:\n  - port: 1\n    tls: false # x\n    z: true\n  - port: 2\n",
		},
		{"list item replaced", "l: [a, b]\n", Path{"l", 1}, "cc", "l: [a, cc]\n"},
		{
			name:   "list item becomes a mapping",
			before: "l:\n- ab\n- cd\n",
			path:   Path{"l", 0},
			value:  transport,
			after:  "l:\n- type: livekit\n  livekit_service_url: \"https://rtc.example.com/livekit/jwt\"\n- cd\n",
		},
		{"mapping becomes a scalar", "a:\n  b: 1\n  c: 2\nd: 1\n", Path{"a"}, false, "a: false\nd: 1\n"},
		{"own key over a merged one", "b: &b\n  x: 1\nc:\n  <<: *b\n", Path{"c", "x"}, 2, "b: &b\n  x: 1\nc:\n  x: 2\n  <<: *b\n"},
		{"alias replaced", "b: &b 1\nc: *b\n", Path{"c"}, 2, "b: &b 1\nc: 2\n"},
		{"anchored, but no alias", "b: &b\n  x: 1\n", Path{"b", "z"}, 2, "b: &b\n  z: 2\n  x: 1\n"},
		{"quoted keys", "'a b':\n  \"x\": 1\n", Path{"a b", "x"}, 2, "'a b':\n  \"x\": 2\n"},
		{"indented document", "  a: 1\n  b: 2\n", Path{"c"}, 3, "  a: 1\n  b: 2\n  c: 3\n"},
		{"wide characters", "é: {ü: 1}\nß: 2\n", Path{"é", "ü"}, 2, "é: {ü: 2}\nß: 2\n"},
		{
			name:   "text that looks like something else",
			before: "a: 1\n",
			path:   Path{"b"},
			value:  []any{"yes", "1e3", "0o7", "2001-01-01", "", "~", "a: b", "1:30", "y"},
			after:  "a: 1\nb:\n  - \"yes\"\n  - \"1e3\"\n  - \"0o7\"\n  - \"2001-01-01\"\n  - \"\"\n  - \"~\"\n  - \"a: b\"\n  - \"1:30\"\n  - \"y\"\n",
		},
		{"keys that look like something else", "a: 1\n", Path{"on", "1"}, 0.5, "a: 1\n\"on\":\n  \"1\": 0.5\n"},
		{"ends in a block text", "a: 1\nt: |\n  one\n  # two\n", Path{"b"}, 2, "a: 1\nt: |\n  one\n  # two\nb: 2\n"},
		{"tabs in comments and texts", "a: 1 #\tx\nb: '\t'\nc: |\n  x\ty\n#\t\n", Path{"a"}, 2, "a: 2 #\tx\nb: '\t'\nc: |\n  x\ty\n#\t\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			edits, err := YAMLSet([]byte(test.before), test.path, test.value)
			if err != nil {
				t.Fatal(err)
			}
			checkEdits(t, test.before, edits, test.after)
			again, err := YAMLSet([]byte(test.after), test.path, test.value)
			if err != nil || again != nil {
				t.Fatalf("again: %v, %v", again, err)
			}
		})
	}
}

func checkEdits(t *testing.T, before string, edits []Edit, after string) {
	t.Helper()
	got, err := Apply([]byte(before), edits)
	if err != nil {
		t.Fatal(err)
	}
	if string(got) != after {
		t.Fatalf("got\n%q\nwant\n%q", got, after)
	}
}

func TestYAMLSetNothingToDo(t *testing.T) {
	for _, test := range []struct {
		text  string
		path  Path
		value any
	}{
		{"a: on\n", Path{"a"}, true},
		{"a: 'x'\n", Path{"a"}, "x"},
		{"b: &b {x: 1}\nc: {<<: *b}\n", Path{"c", "x"}, 1},
		{"b: &b {x: 1}\nc: *b\n", Path{"c", "x"}, 1},
		{"a: 0x10\n", Path{"a"}, 16},
		{"a: 1\na: 2\n", Path{"a"}, 2},
		{"a: 30\n", Path{"a"}, 30.0},
		{"l: [{b: 1, a: 2}]\n", Path{"l"}, []any{Map{{Key: "a", Value: 2}, {Key: "b", Value: 1}}}},
	} {
		if edits, err := YAMLSet([]byte(test.text), test.path, test.value); err != nil || edits != nil {
			t.Errorf("%q: %v, %v", test.text, edits, err)
		}
	}
}

func TestYAMLSetRefused(t *testing.T) {
	for _, test := range []struct{ name, text, path, reason string }{
		{"duplicate key", "a: 1\na: 3\n", "a", "twice"},
		{"duplicate parent", "a: {x: 1}\na: {y: 1}\n", "a.b", "twice"},
		{"two documents", "a: 1\n---\nb: 1\n", "a", "more than one"},
		{"not YAML", "a: [1\n", "a", ""},
		{"tab as indent", "a:\n\tb: 1\n", "a.b", ""},
		{"tab before a comment", "a: 1\t# x\n", "a", "tab"},
		{"tab behind a colon", "a:\t1\n", "b", "tab"},
		{"anchor twice", "a: &x 1\nb: &x 2\n", "c", "anchor"},
		{"list at the top", "- a\n", "a", "not a mapping"},
		{"scalar parent", "a: 1\n", "a.b", "not a mapping"},
		{"shared by an alias", "a: &x\n  b: 1\nc: *x\n", "a.b", "anchor"},
		{"shared value", "a: &x 1\nc: *x\n", "a", "anchor"},
		{"through an alias", "c: &x {b: 1}\na: *x\n", "a.b", "alias"},
		{"through a merge key", "c: &x\n  a:\n    z: 1\nd:\n  <<: *x\n", "d.a.b", "merge key"},
		{"tag", "a: !!str 5\n", "a", "tag"},
		{"unknown tag", "a: !x 5\nb: 1\n", "b", "tag"},
		{"comments inside", "a:\n  b: 1 # x\n  c: 1\n", "a", "comments"},
		{"explicit key", "? a\n: 1\nb: 2\n", "b", "written in a way"},
		{"bare carriage returns", "a: 1\rb: 2\r", "a", "carriage return"},
		{"not UTF-8", "a: \xff\n", "a", "UTF-8"},
		{"NUL", "a: \x00\n", "a", "UTF-8"},
		{"block text without a line end", "a: |\n  x", "b", "other values"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := Path{}
			for p := range strings.SplitSeq(test.path, ".") {
				path = append(path, p)
			}
			edits, err := YAMLSet([]byte(test.text), path, 77)
			r, ok := errors.AsType[*RefusedError](err)
			if !ok || edits != nil || !strings.Contains(r.Reason, test.reason) {
				t.Fatalf("%v, %v", edits, err)
			}
			if !strings.HasSuffix(r.Lines, ": 77\n") {
				t.Errorf("lines %q", r.Lines)
			}
		})
	}
}

func TestYAMLRefusedLines(t *testing.T) {
	_, err := YAMLAppend([]byte("listeners: [{resources: [{names: client}]}]\n"), Path{"listeners", 0, "resources", 0, "names"}, "openid")
	r, _ := errors.AsType[*RefusedError](err)
	if want := "# at listeners[0].resources[0]:\nnames:\n  - openid\n"; r == nil || r.Lines != want {
		t.Fatalf("got %v, want lines %q", r, want)
	}
}

func TestYAMLAppend(t *testing.T) {
	tests := []struct {
		name   string
		before string
		path   Path
		value  any
		after  string
	}{
		{"missing", "a: 1\n", Path{"l"}, "ab", "a: 1\nl:\n  - ab\n"},
		{"null", "l:\n# x\n", Path{"l"}, "ab", "l:\n  - ab\n# x\n"},
		{"flow", "l: [client, federation] # x\n", Path{"l"}, "openid", "l: [client, federation, openid] # x\n"},
		{"empty flow", "l: []\n", Path{"l"}, "openid", "l: [openid]\n"},
		{"flow over lines", "l: [\n  client,\n  federation, # x\n]\n", Path{"l"}, "openid", "l: [\n  client,\n  federation, openid, # x\n]\n"},
		{"block", "l:\n- a1 # x\n\n# y\nk: 1\n", Path{"l"}, "ab", "l:\n- a1 # x\n- ab\n\n# y\nk: 1\n"},
		{
			name:   "block, deeper",
			before: "l:\n    - type: x\n      y:\n        z: 1\nk: 1\n",
			path:   Path{"l"},
			value:  transport,
			after:  "l:\n    - type: x\n      y:\n        z: 1\n    - type: livekit\n      livekit_service_url: \"https://rtc.example.com/livekit/jwt\"\nk: 1\n",
		},
		{"block, no final line end", "l:\n- a1", Path{"l"}, "ab", "l:\n- a1\n- ab"},
		{"there already", "l: [yes]\n", Path{"l"}, true, "l: [yes]\n"},
		{"in an item", "l:\n- n: [client]\n  x: 1\n", Path{"l", 0, "n"}, "openid", "l:\n- n: [client, openid]\n  x: 1\n"},
		{"CRLF", "l:\r\n- a1\r\nk: 1\r\n", Path{"l"}, "ab", "l:\r\n- a1\r\n- ab\r\nk: 1\r\n"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			edits, err := YAMLAppend([]byte(test.before), test.path, test.value)
			if err != nil {
				t.Fatal(err)
			}
			checkEdits(t, test.before, edits, test.after)
			if again, err := YAMLAppend([]byte(test.after), test.path, test.value); err != nil || again != nil {
				t.Fatalf("again: %v, %v", again, err)
			}
		})
	}
	for _, text := range []string{"l: client\n", "l: {a: 1}\n", "m: &m [a]\nl: *m\n", "l: &m [a]\nm: *m\n"} {
		if _, err := YAMLAppend([]byte(text), Path{"l"}, "x"); !isRefused(err) {
			t.Errorf("%q: %v", text, err)
		}
	}
}

func isRefused(err error) bool {
	_, ok := errors.AsType[*RefusedError](err)
	return ok
}

// The edits that a first run makes of Debian's homeserver.yaml, and of one that
// has been lived in.
func TestHomeserver(t *testing.T) {
	set := func(value any, path ...any) func([]byte) ([]Edit, error) {
		return func(text []byte) ([]Edit, error) { return YAMLSet(text, path, value) }
	}
	add := func(value any, path ...any) func([]byte) ([]Edit, error) {
		return func(text []byte) ([]Edit, error) { return YAMLAppend(text, path, value) }
	}
	steps := []func([]byte) ([]Edit, error){
		set(true, "experimental_features", "msc4143_enabled"),
		set("24h", "max_event_delay_duration"),
		set(0.5, "rc_message", "per_second"),
		set(30, "rc_message", "burst_count"),
		set([]any{transport}, "matrix_rtc", "transports"),
		add("openid", "listeners", 0, "resources", 0, "names"),
	}
	const end = `max_event_delay_duration: 24h
rc_message:
  burst_count: 30
  per_second: 0.5
matrix_rtc:
  transports:
    - type: livekit
      livekit_service_url: "https://rtc.example.com/livekit/jwt"
`
	for _, test := range []struct{ file, old, new, end string }{
		{"homeserver.yaml", "names: [client]", "names: [client, openid]", "experimental_features:\n  msc4143_enabled: true\n" + end},
		{"homeserver-lived-in.yaml", "\nexperimental_features:\n", "\nexperimental_features:\n  msc4143_enabled: true\n", end},
	} {
		t.Run(test.file, func(t *testing.T) {
			before, err := os.ReadFile("testdata/" + test.file)
			if err != nil {
				t.Fatal(err)
			}
			edits, err := Chain(before, steps...)
			if err != nil {
				t.Fatal(err)
			}
			want := strings.Replace(string(before), test.old, test.new, 1)
			want = strings.Replace(want, "[client, federation]", "[client, federation, openid]", 1) + test.end
			after, _ := Apply(before, edits)
			checkEdits(t, string(before), edits, want)
			if again, err := Chain(after, steps...); err != nil || again != nil {
				t.Fatalf("again: %v, %v", again, err)
			}
		})
	}
}

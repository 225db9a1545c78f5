package splice

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// The promise of the package, for any text: right or refused, never a panic,
// and nothing to do the second time.

var yamlSeeds = []string{
	"", "\ufeff", "# x", "---\n", "--- # x\n...\n", "a:\n", "a: ~ # x", "a: 1\r\nb:\r\n  c: 2\r\n",
	"a:\n  b: 1\n  # x\n  c: [1, {d: 2}]\n", "a: &x {b: 1}\nc: *x\nd:\n  <<: *x\n",
	"a: |\n  text\n\n\nb: >-\n  x\n   y\n", "a: 'it''s'\nb: \"x\\\n  y\"\n", "l:\n- a: 1\n  b: 2\n-\n- - x\n",
	"{\"a\": [1, 2], \"b\": {}}", "a: {b: , c}\n", "a: !!str 1\nb: ! x\n", "? a\n: b\n", "a: x\n  y\n z: 1\n",
	"a: 1\na: 2\n", "yes: on\n1: 2\n~: 3\n", "a:\t1\t# x\n", "é: {ü: 1}\n", "a: 1\n...\n# x\n", "%YAML 1.1\n---\na: 1\n",
	"l: [a, b, # x\n c]\n", "a: \"#\"\nb: '#'\n", "  a: 1\n  b: 2\n", "a: |2\n    x\nb: |+\n\n",
}

func addYAMLSeeds(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.yaml")
	for _, name := range files {
		text, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text, "listeners.0.resources.0.names", uint8(5))
		f.Add(text, "experimental_features.msc4143_enabled", uint8(1))
	}
	for i, text := range yamlSeeds {
		for j, path := range []string{"a", "a.b", "l.0", "l.1.z", "new.deep", "d.b"} {
			f.Add([]byte(text), path, uint8(i+j))
		}
	}
}

func fuzzPath(text string) Path {
	var path Path
	for p := range strings.SplitSeq(text, ".") {
		if n, err := strconv.Atoi(p); err == nil && n >= 0 {
			path = append(path, n)
		} else {
			path = append(path, p)
		}
	}
	return path
}

func fuzzValue(path string, n uint8) any {
	values := []any{nil, true, 7, 0.25, "x", "24h", path, []any{}, Map{}, []any{"ab", 1}, []any{transport}, transport,
		Map{{Key: path, Value: []any{Map{{Key: "on", Value: path}}, nil}}}}
	return values[int(n)%len(values)]
}

// checkEditOrRefusal runs an edit twice.
func checkEditOrRefusal(t *testing.T, text []byte, edit func([]byte) ([]Edit, error)) (after []byte, ok bool) {
	t.Helper()
	edits, err := edit(text)
	if err != nil {
		if !isRefused(err) || edits != nil {
			t.Fatalf("%v, %v", edits, err)
		}
		return nil, false
	}
	after, err = Apply(text, edits)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range edits {
		if !utf8.ValidString(e.Text) {
			t.Fatalf("edit %q is not UTF-8", e.Text)
		}
	}
	if again, err := edit(after); err != nil || again != nil {
		t.Fatalf("%q\nthe second time: %v, %v", after, again, err)
	}
	return after, true
}

func FuzzYAMLSet(f *testing.F) {
	addYAMLSeeds(f)
	f.Fuzz(func(t *testing.T, text []byte, where string, n uint8) {
		path, value := fuzzPath(where), fuzzValue(where, n)
		if path.check() != nil {
			return
		}
		after, ok := checkEditOrRefusal(t, text, func(text []byte) ([]Edit, error) { return YAMLSet(text, path, value) })
		if !ok {
			return
		}
		if got, ok, err := YAMLGet(after, path); err != nil || !ok || !equal(got, value) {
			t.Fatalf("%q: got %v, %v, %v", after, got, ok, err)
		}
	})
}

func FuzzYAMLAppend(f *testing.F) {
	addYAMLSeeds(f)
	f.Fuzz(func(t *testing.T, text []byte, where string, n uint8) {
		path, value := fuzzPath(where), fuzzValue(where, n)
		if path.check() != nil {
			return
		}
		checkEditOrRefusal(t, text, func(text []byte) ([]Edit, error) { return YAMLAppend(text, path, value) })
	})
}

// Setting a new key of a mapping only adds to the text: no byte of it goes.
func FuzzYAMLNewKey(f *testing.F) {
	addYAMLSeeds(f)
	f.Fuzz(func(t *testing.T, text []byte, where string, n uint8) {
		before, err := yamlTree(text)
		if m, ok := before.(Map); err != nil || !ok || len(m) == 0 {
			return
		}
		path := Path{"new key"}
		if _, ok, _ := YAMLGet(text, path); ok {
			return
		}
		edits, err := YAMLSet(text, path, fuzzValue(where, n))
		if err != nil {
			return
		}
		for _, e := range edits {
			if e.Len > 0 {
				t.Fatalf("%q\n%+v", text, edits)
			}
		}
	})
}

func FuzzJSONSet(f *testing.F) {
	for i, text := range []string{"{}", "[]", "{\n}", `{"a":1}`, "{\n\t\"a\": {\"b\": [1, 2.5e3, \"\\u00e9\\\"\"]}\n}\n", `[{"a": null}, true]`, `{"a": {}, "a": []}`, "{\r\n  \"a\" : [\r\n  ]\r\n}"} {
		for j, path := range []string{"a", "a.b", "a.0", "0.a", "new.deep"} {
			f.Add([]byte(text), path, uint8(i+j))
		}
	}
	f.Fuzz(func(t *testing.T, text []byte, where string, n uint8) {
		path, value := fuzzPath(where), fuzzValue(where, n)
		if path.check() != nil {
			return
		}
		after, ok := checkEditOrRefusal(t, text, func(text []byte) ([]Edit, error) { return JSONSet(text, path, value) })
		if !ok {
			return
		}
		if got, ok, err := JSONGet(after, path); !json.Valid(after) || err != nil || !ok || !equal(got, value) {
			t.Fatalf("%q: got %v, %v, %v", after, got, ok, err)
		}
		if edits, err := JSONDelete(after, path); err != nil || len(edits) != 1 {
			t.Fatalf("%q: delete: %v, %v", after, edits, err)
		}
	})
}

func FuzzRTCFoci(f *testing.F) {
	for _, text := range []string{`{}`, `{"org.matrix.msc4143.rtc_foci": []}`, `{"org.matrix.msc4143.rtc_foci": [{"type": "livekit"}, 7, {"type": "livekit", "livekit_service_url": "https://x"}, {"type": "livekit", "livekit_service_url": "https://x/"}]}`} {
		f.Add([]byte(text), "https://x")
	}
	f.Fuzz(func(t *testing.T, text []byte, url string) {
		if !utf8.ValidString(url) {
			return
		}
		after, ok := checkEditOrRefusal(t, text, func(text []byte) ([]Edit, error) { return RTCFoci(text, url) })
		if !ok {
			return
		}
		got, err := jsonTree(after)
		if err != nil || !same(without(got, Path{rtcFociKey}), dropFoci(t, text)) {
			t.Fatalf("%q: %v", after, err)
		}
	})
}

func jsonTree(text []byte) (any, error) {
	root, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	return root.tree(text), nil
}

func dropFoci(t *testing.T, text []byte) any {
	t.Helper()
	tree, err := jsonTree(text)
	if err != nil {
		t.Fatal(err)
	}
	return without(tree, Path{rtcFociKey})
}

func FuzzNginxInclude(f *testing.F) {
	site, err := os.ReadFile("testdata/nginx-site.conf")
	if err != nil {
		f.Fatal(err)
	}
	f.Add(site, uint8(1))
	for _, text := range []string{
		"server {}", "server {\r\n\tlisten 80;\r\n}", "http { server { listen 443 ssl; } server\n{\n#\n} }", "server { include x; }\n",
		"server { a \"b}\"; c ${d}; # }\n}", "server { a 'b' \\; ; }", "server {\n a; }\n", "server {\n\n  }", "server { a { b; } }",
	} {
		f.Add([]byte(text), uint8(0))
	}
	f.Fuzz(func(t *testing.T, text []byte, n uint8) {
		dirs, err := ParseNginx(text)
		if err != nil {
			return
		}
		checkRanges(t, text, dirs)
		servers := ServerBlocks(dirs)
		if len(servers) == 0 {
			return
		}
		i := int(n) % len(servers)
		at := func(text []byte) *Directive {
			dirs, err := ParseNginx(text)
			if err != nil {
				t.Fatal(err)
			}
			return ServerBlocks(dirs)[i].Directive
		}
		LocationFor(servers[i].Directive, "/.well-known/x")
		after, ok := checkEditOrRefusal(t, text, func(text []byte) ([]Edit, error) { return NginxInclude(text, at(text), "x") })
		if !ok {
			t.Fatal("refused")
		}
		if bytes.Equal(text, after) {
			return
		}
		edits, err := NginxRemoveInclude(after, at(after), "x")
		if err != nil {
			t.Fatalf("%q: %v", after, err)
		}
		if back, _ := Apply(after, edits); !bytes.Equal(back, text) {
			t.Fatalf("\n%q\n%q\n%q", text, after, back)
		}
	})
}

// checkRanges holds that each directive's bytes, read alone, are that
// directive.
func checkRanges(t *testing.T, text []byte, dirs []*Directive) {
	t.Helper()
	for _, d := range dirs {
		alone, err := ParseNginx(text[d.Off:d.End])
		if err != nil || len(alone) != 1 || flatten(alone) != flatten([]*Directive{d}) {
			t.Fatalf("%q: %v", text[d.Off:d.End], err)
		}
		if want := 1 + bytes.Count(text[:d.Off], []byte("\n")); d.Line != want {
			t.Fatalf("line %d, want %d", d.Line, want)
		}
		checkRanges(t, text, d.Body)
	}
}

func FuzzChain(f *testing.F) {
	f.Add([]byte("some text"), uint8(1), uint8(3), "x", uint8(0), uint8(2), "yy")
	f.Fuzz(func(t *testing.T, text []byte, off1, len1 uint8, text1 string, off2, len2 uint8, text2 string) {
		step := func(off, n uint8, insert string) func([]byte) ([]Edit, error) {
			return func(text []byte) ([]Edit, error) {
				at := int(off) % (len(text) + 1)
				return []Edit{{Off: at, Len: int(n) % (len(text) - at + 1), Text: insert}}, nil
			}
		}
		steps := []func([]byte) ([]Edit, error){step(off1, len1, text1), step(off2, len2, text2)}
		want := text
		for _, s := range steps {
			edits, _ := s(want)
			want, _ = Apply(want, edits)
		}
		edits, err := Chain(text, steps...)
		if err != nil {
			t.Fatal(err)
		}
		if got, err := Apply(text, edits); err != nil || !bytes.Equal(got, want) {
			t.Fatalf("got %q, want %q, %v", got, want, err)
		}
	})
}

package splice

import (
	"strings"
	"testing"
)

func TestApply(t *testing.T) {
	src := []byte("0123456789")
	got, err := Apply(src, []Edit{{0, 1, "a"}, {3, 0, "b"}, {3, 2, ""}, {10, 0, "c"}})
	if err != nil || string(got) != "a12b56789c" || string(src) != "0123456789" {
		t.Fatalf("%q, %v", got, err)
	}
	for _, edits := range [][]Edit{{{-1, 0, ""}}, {{0, -1, ""}}, {{11, 0, ""}}, {{9, 2, ""}}, {{0, 2, ""}, {1, 1, ""}}, {{3, 0, ""}, {1, 0, ""}}} {
		if _, err := Apply(src, edits); err == nil {
			t.Errorf("%v is taken", edits)
		}
	}
}

func TestChainGivesNothingForNothing(t *testing.T) {
	set := func(v any) func([]byte) ([]Edit, error) {
		return func(text []byte) ([]Edit, error) { return YAMLSet(text, Path{"a"}, v) }
	}
	if edits, err := Chain([]byte("a: 1\n"), set(2), set(1)); err != nil || edits != nil {
		t.Fatalf("%v, %v", edits, err)
	}
	edits, err := Chain([]byte("a: 1\n"), set(2), func(text []byte) ([]Edit, error) { return YAMLSet(text, Path{"b"}, 3) })
	if err != nil {
		t.Fatal(err)
	}
	checkEdits(t, "a: 1\n", edits, "a: 2\nb: 3\n")
	if _, err := Chain([]byte("a: 1\na: 2\n"), set(1)); !isRefused(err) {
		t.Fatal(err)
	}
}

func TestArguments(t *testing.T) {
	if got := (Path{"listeners", 0, "resources", 1, "names"}).String(); got != "listeners[0].resources[1].names" {
		t.Error(got)
	}
	for _, path := range []Path{nil, {-1}, {1.5}, {"\xff"}} {
		if _, err := YAMLSet(nil, path, 1); err == nil || isRefused(err) {
			t.Errorf("path %v: %v", path, err)
		}
		if _, _, err := JSONGet([]byte("{}"), path); err == nil || isRefused(err) {
			t.Errorf("path %v: %v", path, err)
		}
	}
	for _, v := range []any{int64(1), "\xff", []any{struct{}{}}, Map{{Key: "a"}, {Key: "a"}}, Map{{Key: "a", Tag: "!!bool"}}} {
		if _, err := JSONSet([]byte("{}"), Path{"a"}, v); err == nil || isRefused(err) {
			t.Errorf("value %v: %v", v, err)
		}
	}
}

// What PyYAML 6 reads, which is not what go-yaml does.
func TestYAMLGetFolds(t *testing.T) {
	for text, want := range map[string]any{
		"yes": true, "Off": false, "on": true, "y": "y", "~": nil, "": nil, "'yes'": "yes", "!!str yes": "yes",
		"010": 8, "0o17": "0o17", "1:30": 90, "1_000": 1000, "0x1f": 31, "1e3": "1e3", "1.5e+3": 1500.0,
		"+1": 1, "0b11": 3, "24h": "24h", ".5": 0.5, "08": "08", "2001-01-01": Other{"!!timestamp", "2001-01-01"},
	} {
		got, ok, err := YAMLGet([]byte("a: "+text+"\n"), Path{"a"})
		if err != nil || !ok || got != want {
			t.Errorf("%q: got %#v, %v, %v", text, got, ok, err)
		}
	}
}

func TestYAMLGet(t *testing.T) {
	text := []byte("b: &b {x: 1, y: 2}\nc:\n  <<: *b\n  y: 3\nd: *b\nl: [1, {z: on}]\nb2: 1\nb2: 2\n")
	for _, test := range []struct {
		path Path
		want any
		ok   bool
	}{
		{Path{"c", "x"}, 1, true}, {Path{"c", "y"}, 3, true}, {Path{"d", "y"}, 2, true}, {Path{"l", 1, "z"}, true, true},
		{Path{"b2"}, 2, true}, {Path{"l", 2}, nil, false}, {Path{"l", "x"}, nil, false}, {Path{"none", "x"}, nil, false},
	} {
		if got, ok, err := YAMLGet(text, test.path); err != nil || ok != test.ok || got != test.want {
			t.Errorf("%s: %v, %v, %v", test.path, got, ok, err)
		}
	}
}

func TestYAMLTop(t *testing.T) {
	m, err := YAMLTop([]byte("b: 1\nyes: 2\na: 3\nb: 4\n"))
	if want := (Map{{Key: "b", Value: 4}, {Key: "yes", Value: 2, Tag: "!!bool"}, {Key: "a", Value: 3}}); err != nil || !same(m, want) {
		t.Errorf("%v, %v", m, err)
	}
	if m, err := YAMLTop([]byte("# x\n")); err != nil || m == nil || len(m) != 0 {
		t.Errorf("%v, %v", m, err)
	}
	for _, text := range []string{"- a\n", "a: [", "a: 1\n---\nb: 1\n", "a: !x 1\n", "a: &a [*a]\n"} {
		if _, err := YAMLTop([]byte(text)); err == nil {
			t.Errorf("%q is taken", text)
		}
	}
	// A password that begins with * must not be told.
	if _, err := YAMLTop([]byte("password: *hunter2\n")); err == nil || strings.Contains(err.Error(), "hunter2") {
		t.Error(err)
	}
}

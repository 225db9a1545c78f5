package splice

import (
	"errors"
	"testing"
)

func TestJSONSet(t *testing.T) {
	list := []any{Map{{Key: "x", Value: 1}, {Key: "y", Value: []any{}}}}
	tests := []struct {
		name, before string
		path         Path
		value        any
		after        string
	}{
		{"empty object", `{}`, Path{"a"}, 1, `{"a": 1}`},
		{"empty object over lines", "{\n}\n", Path{"a", "b"}, "x", "{\n  \"a\": {\n    \"b\": \"x\"\n  }\n}\n"},
		{"compact", `{"a":1}`, Path{"b"}, list, `{"a":1,"b":[{"x":1,"y":[]}]}`},
		{"one line", `{ "a": 1 }`, Path{"b"}, 2, `{ "a": 1, "b": 2 }`},
		{"lines", "{\n  \"a\": 1\n}\n", Path{"b"}, list, "{\n  \"a\": 1,\n  \"b\": [\n    {\n      \"x\": 1,\n      \"y\": []\n    }\n  ]\n}\n"},
		{"tabs", "{\n\t\"a\": 1\n}", Path{"b"}, list, "{\n\t\"a\": 1,\n\t\"b\": [\n\t\t{\n\t\t\t\"x\": 1,\n\t\t\t\"y\": []\n\t\t}\n\t]\n}"},
		{"CRLF", "{\r\n    \"a\": {}\r\n}\r\n", Path{"a", "b"}, 1, "{\r\n    \"a\": {\r\n        \"b\": 1\r\n    }\r\n}\r\n"},
		{"spaced colon", "{\n \"a\" : 1\n}", Path{"b"}, 2, "{\n \"a\" : 1,\n \"b\" : 2\n}"},
		{"one-line object in lines", "{\n  \"a\": {\"x\": 1}\n}", Path{"a", "y"}, list, "{\n  \"a\": {\"x\": 1, \"y\": [{\"x\": 1, \"y\": []}]}\n}"},
		{"replace", `{"a":  [1, 2] , "b": 3}`, Path{"a"}, nil, `{"a":  null , "b": 3}`},
		{"replace an element", `[1, [2, 3]]`, Path{1, 0}, "<&>", `[1, ["<&>", 3]]`},
		{"append", `{"a": [1]}`, Path{"a", 1}, 2, `{"a": [1, 2]}`},
		{"append to an empty array", "{\n  \"a\": []\n}", Path{"a", 0}, 2, "{\n  \"a\": [\n    2\n  ]\n}"},
		{"escaped key", `{"\u0061": 1}`, Path{"a"}, 2, `{"\u0061": 2}`},
		{"duplicates elsewhere", `{"x": 1, "x": 2, "a": 1}`, Path{"a"}, 2, `{"x": 1, "x": 2, "a": 2}`},
		{"float", `{"a": 1.5e0}`, Path{"a"}, 0.25, `{"a": 0.25}`},
		{"same", `{"a": {"x": 1, "y": 2}}`, Path{"a"}, Map{{Key: "y", Value: 2}, {Key: "x", Value: 1}}, `{"a": {"x": 1, "y": 2}}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			edits, err := JSONSet([]byte(test.before), test.path, test.value)
			if err != nil {
				t.Fatal(err)
			}
			checkEdits(t, test.before, edits, test.after)
			if again, err := JSONSet([]byte(test.after), test.path, test.value); err != nil || again != nil {
				t.Fatalf("again: %v, %v", again, err)
			}
		})
	}
}

func TestJSONSetRefused(t *testing.T) {
	for _, text := range []string{
		"", " \n", "{", "\ufeff{}", "{\"a\": 1,}", "{} // x", "{}{}", "[]", "7", "{\"b\": \"\xff\"}",
		`{"a": 1}`, `{"a": [1]}`, `{"a": {}, "a": {}}`, `{"a": {"b": 1, "b": 1}}`,
	} {
		edits, err := JSONSet([]byte(text), Path{"a", "b"}, 7)
		r, ok := errors.AsType[*RefusedError](err)
		if !ok || edits != nil || r.Lines != "in a: \"b\": 7\n" {
			t.Errorf("%q: %v, %#v", text, edits, err)
		}
	}
	if _, err := JSONSet([]byte(`[1]`), Path{2}, 7); !isRefused(err) {
		t.Errorf("gap: %v", err)
	}
}

func TestJSONDelete(t *testing.T) {
	for _, test := range []struct {
		before string
		path   Path
		after  string
	}{
		{"{\n  \"a\": 1,\n  \"b\": 2\n}", Path{"a"}, "{\n  \"b\": 2\n}"},
		{"{\n  \"a\": 1,\n  \"b\": 2\n}", Path{"b"}, "{\n  \"a\": 1\n}"},
		{"{\n  \"a\": 1\n}", Path{"a"}, "{}"},
		{`[1, 2, 3]`, Path{1}, `[1, 3]`},
		{`[1, 2, 3]`, Path{3}, `[1, 2, 3]`},
		{`{"a": {}}`, Path{"a", "b"}, `{"a": {}}`},
		{`{}`, Path{"a", "b"}, `{}`},
	} {
		edits, err := JSONDelete([]byte(test.before), test.path)
		if err != nil {
			t.Fatal(err)
		}
		checkEdits(t, test.before, edits, test.after)
	}
}

func TestJSONGet(t *testing.T) {
	text := []byte(`{"a": [1, 1.0, 1e400, 99999999999999999999, "\u00e9", null, true], "b": 1, "b": {"c": -0}}`)
	for _, test := range []struct {
		path Path
		want any
		ok   bool
	}{
		{Path{"a", 0}, 1, true},
		{Path{"a", 1}, 1.0, true},
		{Path{"a", 3}, 1e20, true},
		{Path{"a", 4}, "é", true},
		{Path{"a", 5}, nil, true},
		{Path{"a", 6}, true, true},
		{Path{"a", 7}, nil, false},
		{Path{"b", "d"}, nil, false},
		{Path{"b", "c"}, 0.0, true},
		{Path{"b", "c", "d"}, nil, false},
	} {
		if got, ok, err := JSONGet(text, test.path); err != nil || ok != test.ok || got != test.want {
			t.Errorf("%s: %v, %v, %v", test.path, got, ok, err)
		}
	}
}

func TestRTCFoci(t *testing.T) {
	const key, url = `"org.matrix.msc4143.rtc_foci"`, "https://rtc.example.com/livekit/jwt"
	entry := func(u string) string { return `{"type": "livekit", "livekit_service_url": "` + u + `"}` }
	ours, other := entry(url), entry("https://other.example.com")
	tests := []struct{ name, before, after string }{
		{"new", "{\n  \"m.homeserver\": {\n    \"base_url\": \"https://matrix.example.com\"\n  }\n}\n",
			"{\n  \"m.homeserver\": {\n    \"base_url\": \"https://matrix.example.com\"\n  },\n  " + key +
				": [\n    {\n      \"type\": \"livekit\",\n      \"livekit_service_url\": \"" + url + "\"\n    }\n  ]\n}\n"},
		{"empty", `{}`, `{` + key + `: [` + ours + `]}`},
		{
			name:   "compact",
			before: `{"m.homeserver":{"base_url":"https://m"}}`,
			after:  `{"m.homeserver":{"base_url":"https://m"},` + key + `:[{"type":"livekit","livekit_service_url":"` + url + `"}]}`,
		},
		{"null", `{` + key + `: null, "b": 1}`, `{` + key + `: [` + ours + `], "b": 1}`},
		{"empty list", `{` + key + `: []}`, `{` + key + `: [` + ours + `]}`},
		{"other type", `{` + key + `: [{"type": "x"}]}`, `{` + key + `: [{"type": "x"}, ` + ours + `]}`},
		{"older announcement", `{` + key + `: [` + other + `]}`, `{` + key + `: [` + ours + `]}`},
		{"older announcement without URL", `{` + key + `: [{"type": "livekit"}]}`, `{` + key + `: [{"type": "livekit", "livekit_service_url": "` + url + `"}]}`},
		{"slash", `{` + key + `: [` + entry(url+"/") + `]}`, `{` + key + `: [` + entry(url+"/") + `]}`},
		{"second", `{` + key + `: [{"a": 1}, ` + other + ", " + ours + `]}`, `{` + key + `: [{"a": 1}, ` + ours + ", " + other + `]}`},
		{"twice", `{` + key + `: [` + ours + ", " + other + ", " + ours + `]}`, `{` + key + `: [` + ours + ", " + other + `]}`},
		{"second and twice", `{` + key + `: [` + other + ", " + ours + ", " + ours + `]}`, `{` + key + `: [` + ours + ", " + other + `]}`},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			edits, err := RTCFoci([]byte(test.before), url+"/")
			if err != nil {
				t.Fatal(err)
			}
			checkEdits(t, test.before, edits, test.after)
			if again, err := RTCFoci([]byte(test.after), url); err != nil || again != nil {
				t.Fatalf("again: %v, %v", again, err)
			}
		})
	}
	for _, text := range []string{
		"", "[]", "\ufeff{}", `{` + key + `: 1}`, `{` + key + `: [], ` + key + `: []}`,
		`{` + key + `: [{"type": "livekit", "type": "x"}]}`,
	} {
		_, err := RTCFoci([]byte(text), url)
		r, ok := errors.AsType[*RefusedError](err)
		if !ok || r.Lines == "" {
			t.Errorf("%q: %v", text, err)
		}
	}
}

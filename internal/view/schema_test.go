package view

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// schema is the part of JSON Schema that our schema uses.
type schema struct {
	Ref        string `json:"$ref"`
	Type       string
	Format     string
	Const      any
	Enum       []string
	Required   []string
	Properties map[string]*schema
	Items      *schema
	Minimum    *float64
	Maximum    *float64
	Defs       map[string]*schema `json:"$defs"`
}

func reportSchema(t *testing.T) *schema {
	t.Helper()
	text, err := os.ReadFile("../../docs/verify-report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(text, &s); err != nil {
		t.Fatal(err)
	}
	return &s
}

func (s *schema) follow(root *schema) *schema {
	if name, ok := strings.CutPrefix(s.Ref, "#/$defs/"); ok {
		return root.Defs[name]
	}
	return s
}

// listDifferences lists where a schema and a Go type differ.
func listDifferences(at string, root, s *schema, typ reflect.Type) []string {
	if s = s.follow(root); s == nil {
		return []string{at + " has no definition"}
	}
	want := map[reflect.Kind]string{reflect.String: "string", reflect.Int: "integer", reflect.Int64: "integer", reflect.Float64: "number", reflect.Slice: "array", reflect.Struct: "object"}[typ.Kind()]
	switch {
	case typ == reflect.TypeFor[time.Time]():
		if s.Type != "string" || s.Format != "date-time" {
			return []string{at + " is no date-time"}
		}
		return nil
	case typ.Kind() == reflect.Pointer:
		return listDifferences(at, root, s, typ.Elem())
	case s.Enum != nil && want == "string":
		return nil // the test looks at what is in it
	case s.Type != want:
		return []string{fmt.Sprintf("%s is %q, want %q", at, s.Type, want)}
	case typ.Kind() == reflect.Slice:
		return listDifferences(at+"[]", root, s.Items, typ.Elem())
	case typ.Kind() != reflect.Struct:
		return nil
	}
	var out, fields, required []string
	for i := range typ.NumField() {
		name, options, _ := strings.Cut(typ.Field(i).Tag.Get("json"), ",")
		fields = append(fields, name)
		if options != "omitempty" {
			required = append(required, name)
		}
		if p := s.Properties[name]; p != nil {
			out = append(out, listDifferences(at+"."+name, root, p, typ.Field(i).Type)...)
		}
	}
	for _, lists := range [][2][]string{{fields, slices.Collect(maps.Keys(s.Properties))}, {required, s.Required}} {
		slices.Sort(lists[0])
		slices.Sort(lists[1])
		if !slices.Equal(lists[0], lists[1]) {
			out = append(out, fmt.Sprintf("%s: the type has %q and the schema %q", at, lists[0], lists[1]))
		}
	}
	return out
}

// The schema describes the Go types, field by field, and lists all words.
func TestSchemaIsOfTheReport(t *testing.T) {
	root := reportSchema(t)
	for _, d := range listDifferences("report", root, root.Properties["report"], reflect.TypeFor[rtc.Report]()) {
		t.Error(d)
	}
	words := func(name string, want ...string) {
		if got := root.Defs[name].Enum; !slices.Equal(got, want) {
			t.Errorf("%s: the schema has %q, want %q", name, got, want)
		}
	}
	words("status", string(rtc.OK), string(rtc.Warning), string(rtc.Failed), string(rtc.NotSeen))
	words("side", string(rtc.HostSide), string(rtc.WaySide), string(rtc.LaptopSide))
	var parts []string
	for _, p := range rtc.Parts() {
		parts = append(parts, string(p))
	}
	words("part", parts...)
	for ref, typ := range map[string]reflect.Type{
		"#/$defs/status": reflect.TypeFor[rtc.Status](), "#/$defs/side": reflect.TypeFor[rtc.Side](), "#/$defs/part": reflect.TypeFor[rtc.Part](), "#/$defs/code": reflect.TypeFor[rtc.Code](),
	} {
		for i := range reflect.TypeFor[rtc.Link]().NumField() {
			f := reflect.TypeFor[rtc.Link]().Field(i)
			name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
			if got := root.Defs["link"].Properties[name].Ref; (got == ref) != (f.Type == typ) {
				t.Errorf("%s of a link is %q", name, got)
			}
		}
	}
}

// listBreaches lists where a value is not as the schema says.
func listBreaches(at string, root, s *schema, v any) (out []string) {
	s = s.follow(root)
	kind := map[string]bool{}
	switch v := v.(type) {
	case string:
		kind["string"] = true
		if s.Enum != nil && !slices.Contains(s.Enum, v) {
			out = append(out, at+" is "+v)
		}
		if _, err := time.Parse(time.RFC3339, v); s.Format == "date-time" && err != nil {
			out = append(out, at+": "+err.Error())
		}
	case float64:
		kind["number"], kind["integer"] = true, v == float64(int64(v))
		if s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			out = append(out, fmt.Sprintf("%s is %v", at, v))
		}
	case []any:
		kind["array"] = true
		for i, item := range v {
			out = append(out, listBreaches(fmt.Sprintf("%s[%d]", at, i), root, s.Items, item)...)
		}
	case map[string]any:
		kind["object"] = true
		for _, name := range s.Required {
			if _, ok := v[name]; !ok {
				out = append(out, at+" lacks "+name)
			}
		}
		for name, value := range v {
			if p := s.Properties[name]; p != nil {
				out = append(out, listBreaches(at+"."+name, root, p, value)...)
			} else {
				out = append(out, at+" has "+name)
			}
		}
	}
	if s.Const != nil && s.Const != v || s.Type != "" && !kind[s.Type] {
		out = append(out, fmt.Sprintf("%s is %v", at, v))
	}
	return out
}

// What is written is as the schema says, a report of nothing included.
func TestJSONKeepsTheSchema(t *testing.T) {
	root := reportSchema(t)
	for name, r := range map[string]rtc.Report{"healthy": healthyReport(), "broken": ailingReport(), "without media": reportWithoutMedia(), "nothing": {}} {
		var out strings.Builder
		if err := newJSON(&out).Report(r); err != nil {
			t.Fatal(err)
		}
		var v any
		if err := json.Unmarshal([]byte(out.String()), &v); err != nil {
			t.Fatal(err)
		}
		for _, b := range listBreaches("it", root, root, v) {
			t.Errorf("%s: %s", name, b)
		}
	}
	bad := map[string]any{"version": 2.0, "type": "report", "report": map[string]any{"links": nil, "more": 1.0}}
	if got := listBreaches("it", root, root, bad); len(got) < 8 {
		t.Errorf("of what is wrong it finds only %q", got)
	}
}

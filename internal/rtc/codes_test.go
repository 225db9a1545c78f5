package rtc

import (
	"encoding/json"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Each code that a report can have has words, and no words wait for a code.
func TestCodesHaveWords(t *testing.T) {
	used, direct := map[string]bool{}, map[Code]bool{}
	paths, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range paths {
		if strings.HasSuffix(path, "_test.go") || strings.HasPrefix(path, "codes") {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), path, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			switch n := n.(type) {
			case *ast.BasicLit:
				used[strings.Trim(n.Value, `"`)] = true
			case *ast.CallExpr:
				f, _ := n.Fun.(*ast.Ident)
				if f != nil && (f.Name == "bad" || f.Name == "warn") {
					if l, ok := n.Args[0].(*ast.BasicLit); ok {
						direct[Code(strings.Trim(l.Value, `"`))] = true
					}
				}
			}
			return true
		})
	}
	seen := map[Code]bool{}
	for _, e := range explanations {
		if seen[e.Code] {
			t.Errorf("%s has words twice", e.Code)
		}
		seen[e.Code] = true
		if !used[string(e.Code)] {
			t.Errorf("nothing yields %s", e.Code)
		}
		if e.Sees == "" || e.Why == "" || e.Do == "" {
			t.Errorf("%s lacks words: %+v", e.Code, e)
		}
	}
	for c := range direct {
		if !seen[c] {
			t.Errorf("%s has no words", c)
		}
	}
	if len(direct) < 20 {
		t.Errorf("%d codes were found in calls", len(direct))
	}
}

// The report's schema lists all codes, in the order of a call.
func TestSchemaHasTheCodes(t *testing.T) {
	text, err := os.ReadFile("../../docs/verify-report.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	var schema struct {
		Defs map[string]struct {
			Enum []Code `json:"enum"`
		} `json:"$defs"`
	}
	if err := json.Unmarshal(text, &schema); err != nil {
		t.Fatal(err)
	}
	var codes []Code
	for _, e := range explanations {
		codes = append(codes, e.Code)
	}
	if d := cmp.Diff(codes, schema.Defs["code"].Enum); d != "" {
		t.Errorf("the schema has other codes: %s", d)
	}
}

func TestExplain(t *testing.T) {
	for what, want := range map[string][]Code{
		"firewall-udp": {"firewall-udp"}, "FIREWALL_UDP": {"firewall-udp"}, "MISSING_MATRIX_RTC_TRANSPORT": {"flag-off", "transports-empty"},
		"It says: Waiting for media...": {"wrong-address", "firewall-udp", "blocked-udp"},
		"OPEN_ID_ERROR":                 {"jwt-down", "no-openid-listener", "hairpin"},
		"SFU_ERROR":                     {"secret-differs", "no-upgrade"},
		"calls end after 18 s":          {"delayed-events-off", "rate-limits"}, "18 s": nil, "": nil, "?!": nil, "nonsense": nil,
	} {
		var got []Code
		for _, e := range Explain(what) {
			got = append(got, e.Code)
		}
		for _, w := range want {
			if !slices.Contains(got, w) {
				t.Errorf("%q: %v lacks %s", what, got, w)
			}
		}
		if want == nil && len(got) > 0 {
			t.Errorf("%q: %v", what, got)
		}
	}
}

package rtc

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"slices"
	"strings"
	"testing"
)

// Each code that a report can have has words, and no words wait for a code.
func TestCodesHaveWords(t *testing.T) {
	used := map[string]bool{}
	packages, err := parser.ParseDir(token.NewFileSet(), ".", func(f fs.FileInfo) bool {
		return !strings.HasSuffix(f.Name(), "_test.go") && f.Name() != "codes.go"
	}, 0)
	if err != nil {
		t.Fatal(err)
	}
	ast.Inspect(packages["rtc"], func(n ast.Node) bool {
		if l, ok := n.(*ast.BasicLit); ok && l.Kind == token.STRING {
			used[strings.Trim(l.Value, `"`)] = true
		}
		return true
	})
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
	// What bad and warn are given directly.
	ast.Inspect(packages["rtc"], func(n ast.Node) bool {
		call, ok := n.(*ast.CallExpr)
		if !ok || len(call.Args) == 0 {
			return true
		}
		f, ok := call.Fun.(*ast.Ident)
		l, lit := call.Args[0].(*ast.BasicLit)
		if ok && lit && (f.Name == "bad" || f.Name == "warn") && !seen[Code(strings.Trim(l.Value, `"`))] {
			t.Errorf("%s has no words", l.Value)
		}
		return true
	})
}

func TestExplain(t *testing.T) {
	for what, want := range map[string][]Code{
		"firewall-udp": {"firewall-udp"}, "FIREWALL_UDP": {"firewall-udp"}, "MISSING_MATRIX_RTC_TRANSPORT": {"flag-off", "transports-empty"},
		"It says: Waiting for media...": {"wrong-address", "firewall-udp", "blocked-udp"}, "OPEN_ID_ERROR": {"jwt-down", "no-openid-listener", "hairpin"}, "SFU_ERROR": {"secret-differs", "no-upgrade"},
		"calls end after 18 s": {"delayed-events-off", "rate-limits"}, "18 s": nil, "": nil, "?!": nil, "nonsense": nil,
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

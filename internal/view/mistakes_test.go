package view

import (
	"bytes"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/plans"
)

func TestMistakes(t *testing.T) {
	var out bytes.Buffer
	newText(&out, false).Mistakes(plans.Mistakes{
		{Severity: plans.SeverityError, File: "hosts.hcl", Line: 12, Column: 10, End: 19, Summary: `there is no host "mtrix"`, Detail: "did you mean host.matrix?", Snippet: "\thost  = host.mtrix"},
		{Severity: plans.SeverityWarning, File: "hosts.hcl", Summary: "no place", Detail: "fix it"},
	})
	want := "hosts.hcl:12:10: error: there is no host \"mtrix\"\n" +
		"  12 | \thost  = host.mtrix\n" +
		"     | \t        ^^^^^^^^^\n" +
		"hint: did you mean host.matrix?\n\n" +
		"hosts.hcl: warning: no place\n" +
		"hint: fix it\n\n" +
		"1 error, 1 warning\n"
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
}

// A mark never runs over the end of the line, nor is it ever missing.
func TestMistakesMarkFits(t *testing.T) {
	for _, m := range []plans.Mistake{{Line: 1, Column: 1, End: 99, Snippet: "ab"}, {Line: 1, Column: 9, End: 10, Snippet: "ab"}} {
		if got := underline(m); got != "^^" && got != "        ^" {
			t.Errorf("%q", got)
		}
	}
}

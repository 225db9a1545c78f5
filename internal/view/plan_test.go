package view

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

// hostile is what a host could send to trick a terminal or a log reader.
const hostile = "a\x1b[2Jb\rc\u202Ed"

func makePlan() plans.Plan {
	return plans.Plan{Sites: []plans.SitePlan{{Site: "example.org", Hosts: []plans.HostPlan{
		{Host: "web", Steps: []plans.StepPlan{{Stage: steps.StageProxy, Step: "nginx",
			Changes: []steps.Change{
				&steps.Files{Title: "nginx", Interrupt: "nginx reloads", Edits: []steps.FileEdit{{Path: "/etc/x", Before: "1", Diff: "@@ -1 +1 @@\n-old\n+new " + hostile + "\n"}}},
				&steps.Exec{Verb: "+", Title: "ufw allow 1/tcp"},
			},
			Findings: []steps.Finding{{Severity: steps.Note, Summary: "a note"}, {Severity: steps.Warning, Summary: "a warning\nof two lines", Hint: "do this"}, {Severity: steps.Note, Summary: "a note"}},
		}}},
		{Host: "sfu", Steps: []plans.StepPlan{{Stage: steps.StageSFU, Step: "livekit"}}},
	}}}}
}

func TestPlan(t *testing.T) {
	var out strings.Builder
	newText(&out, false).Plan(makePlan())
	want := `site example.org
  host web
    ~ nginx  (nginx reloads)
        ~ /etc/x
        | @@ -1 +1 @@
        | -old
        | +new abcd
    + ufw allow 1/tcp
  host sfu
    nothing to do
  warning: a warning
      of two lines
    hint: do this
  note: a note

Plan: 1 to add, 1 to change, 0 to remove on 1 host. nginx reloads.
`
	if d := cmp.Diff(want, out.String()); d != "" {
		t.Error(d)
	}
	out.Reset()
	newText(&out, true).Plan(makePlan())
	if !strings.Contains(out.String(), "\x1b[32m+new abcd\x1b[0m") {
		t.Errorf("with colours: %q", out.String())
	}
	if got := Summary(plans.Plan{}); got != "Plan: nothing to do." {
		t.Error(got)
	}
	blocked := makePlan()
	blocked.Sites[0].Hosts[1].Steps[0].Findings = []steps.Finding{{Severity: steps.Error, Summary: "no"}}
	if got := Summary(blocked); !strings.Contains(got, "because of errors") {
		t.Error(got)
	}
}

// Programs get one JSON object a line, with nothing around it.
func TestJSON(t *testing.T) {
	var out strings.Builder
	j := newJSON(&out)
	if err := j.Plan(makePlan()); err != nil {
		t.Fatal(err)
	}
	j.Event(engine.Checked{Site: "example.org", Host: "web", Name: "it answers", Took: time.Second, Err: "no\nanswer"})
	j.Event(engine.RolledBack{Site: "example.org", Host: "web", Report: []string{"restored /etc/x"}})
	lines := strings.Split(strings.TrimSpace(out.String()), "\n")
	if len(lines) != 3 {
		t.Fatalf("%d lines, want 3:\n%s", len(lines), &out)
	}
	for _, line := range lines {
		var v map[string]any
		if err := json.Unmarshal([]byte(line), &v); err != nil || v["type"] == nil {
			t.Errorf("%v in %s", err, line)
		}
	}
	if !strings.Contains(lines[0], "ufw allow 1/tcp") || !strings.Contains(lines[1], `no\nanswer`) {
		t.Errorf("the content is not there:\n%s", &out)
	}
}

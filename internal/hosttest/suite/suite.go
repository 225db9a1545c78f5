package suite

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// Summaries are a list of findings as "severity: summary", for tests to search.
func Summaries(fs []steps.Finding) string {
	var b strings.Builder
	for _, f := range fs {
		b.WriteString(string(f.Severity) + ": " + f.Summary + "\n")
	}
	return b.String()
}

// Apply makes the edits of a decision in the files of o.
func (o Fake) Apply(t *testing.T, d steps.Decision) {
	t.Helper()
	for _, c := range d.Changes {
		for _, e := range c.(*steps.Files).Edits {
			switch {
			case e.Remove:
				delete(o.Files, e.Path)
			case e.Edits == nil:
				o.Files[e.Path] = e.Text.Masked()
			default:
				after, err := splice.Apply([]byte(o.Files[e.Path]), e.Edits)
				if err != nil {
					t.Fatal(err)
				}
				o.Files[e.Path] = string(after)
			}
		}
	}
}

func Verbs(d steps.Decision) []string {
	var out []string
	for _, c := range d.Changes {
		for _, line := range c.Summary().Details {
			if !strings.HasSuffix(line, "/") { // a folder
				out = append(out, line)
			}
		}
	}
	return out
}

func Decide(t *testing.T, s steps.Step, o host.Observer) steps.Decision {
	t.Helper()
	facts, err := s.Probe(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	shared := steps.Shared{Sources: map[string]string{}, HTTPS: map[string]string{}}
	facts.Share(&shared)
	d, err := facts.Diff(shared)
	if err != nil {
		t.Fatal(err)
	}
	return d
}

// Words is a decision as a plan would show it, a line for each thing.
func Words(d steps.Decision) string {
	var out []string
	for _, c := range d.Changes {
		s := c.Summary()
		out = append(out, s.Verb+" "+s.Title)
		out = append(out, s.Details...)
	}
	for _, f := range d.Findings {
		out = append(out, string(f.Severity)+": "+f.Summary)
	}
	return strings.Join(out, "\n")
}

func Only(t *testing.T, changes []steps.Change) steps.Change {
	t.Helper()
	if len(changes) != 1 {
		t.Fatalf("%d changes, want 1", len(changes))
	}
	return changes[0]
}

// StepOf is the one step of a config that stands on h.
func StepOf(c steps.Config, s *steps.Site) steps.Step {
	return c.Steps(steps.Decl{Site: s.Name, Host: "h"}, s)[0].Step
}

// Said is the one finding of an external step, without its first line.
func Said(t *testing.T, s steps.Step) (string, steps.Decision) {
	t.Helper()
	facts, err := s.Probe(t.Context(), Fake{})
	if err != nil {
		t.Fatal(err)
	}
	d, err := facts.Diff(steps.Shared{})
	if err != nil || len(d.Changes) != 0 || len(d.Findings) != 1 || d.Findings[0].Severity != steps.Note {
		t.Fatalf("%v: %d changes, %v", err, len(d.Changes), d.Findings)
	}
	_, text, _ := strings.Cut(d.Findings[0].Summary, "\n")
	return text, d
}

// Declared is where a config of OneHost stands.
func Declared(c steps.Config) steps.Decl {
	d := steps.Decl{Site: "example.org", Host: c.HostName()}
	d.Parts = c.Parts(d)
	return d
}

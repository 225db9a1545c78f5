package steps

import (
	"context"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Step looks at one concern of one host and decides which changes it needs.
type Step interface {
	// Name is what plans and messages call the step: "livekit", "nginx", ...
	Name() string
	// Probe reads the host, in at most two flights. A missing tool or file is
	// a fact, not an error.
	Probe(ctx context.Context, o host.Observer) (Facts, error)
}

// Facts are what a probe found, ready to be decided on.
type Facts interface {
	// Share puts what other hosts of the site need to know into s.
	Share(s *Shared)
	// Diff decides. It does no I/O and asks no clock: the same facts give the
	// same decision.
	Diff(s Shared) (Decision, error)
}

// Decision is what a step wants done.
type Decision struct {
	Changes  []Change
	Checks   []Check   // how to see, after the changes, that the step's concern works
	Findings []Finding // what a person should know before anything changes
	// Stands is all that shall stand on the host for the step's concern, changed or
	// not: what the ledger has and no step names is taken away. A step that looks after
	// its variant's effects names them by the variant's word, also where it wants none.
	Stands []Ref
	// LeavesAlone says that the concerns of the step's stage are somebody else's now: what
	// stands of them, on whatever host of the site, stays as it is.
	LeavesAlone bool
}

// Severity tells findings that stop a run from those that do not.
type Severity string

// An Error stops the run before anything changes; a Warning and a Note do not.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Note    Severity = "note"
)

// Finding is something seen, in one sentence, and one command or setting that helps;
// "" for none.
func (s Severity) Finding(summary, hint string) Finding {
	return Finding{Severity: s, Summary: summary, Hint: hint}
}

// Finding is something that preflight or another step saw.
type Finding struct {
	Severity Severity `json:"severity"`
	Summary  string   `json:"summary"`
	Hint     string   `json:"hint,omitempty"` // one command or setting
}

// Define makes a Step of a probe, a function that shares (nil where nothing is
// shared) and a pure diff.
func Define[F any](name string, probe func(context.Context, host.Observer) (F, error), share func(F, *Shared), diff func(F, Shared) (Decision, error)) Step {
	return step[F]{name, probe, share, diff}
}

type step[F any] struct {
	name  string
	probe func(context.Context, host.Observer) (F, error)
	share func(F, *Shared)
	diff  func(F, Shared) (Decision, error)
}

func (s step[F]) Name() string { return s.name }

func (s step[F]) Probe(ctx context.Context, o host.Observer) (Facts, error) {
	f, err := s.probe(ctx, o)
	if err != nil {
		return nil, err
	}
	return facts[F]{s, f}, nil
}

type facts[F any] struct {
	step  step[F]
	found F
}

func (f facts[F]) Share(s *Shared) {
	if f.step.share != nil {
		f.step.share(f.found, s)
	}
}

func (f facts[F]) Diff(s Shared) (Decision, error) { return f.step.diff(f.found, s) }

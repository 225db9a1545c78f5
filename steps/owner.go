package steps

import (
	"context"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// What is called external is configured by somebody else: ecdeploy says what
// is needed, in the words of the thing itself, and checks that it is there.

// Nothing is the probe of a step that has to know nothing of its host.
func Nothing(context.Context, host.Observer) (struct{}, error) { return struct{}{}, nil }

// FindsNothing is Detect of a variant that leaves a thing to its owner.
func FindsNothing(context.Context, host.Observer) ([]Found, error) { return nil, nil }

// LeftToOwner says what somebody else has to do, and checks that it is done.
func LeftToOwner(name, text string, checks []Check) Step {
	return Define(name, Nothing, nil, func(struct{}, Shared) (Decision, error) {
		return Decision{Findings: []Finding{Note.Finding(text, "")}, Checks: checks, LeavesAlone: true}, nil
	})
}

// ByHand is a Config whose thing somebody else configures.
type ByHand interface {
	// ByHand says what they have to take away when the site goes.
	ByHand() string
}

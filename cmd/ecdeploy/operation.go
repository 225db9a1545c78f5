package main

import (
	"context"
	"errors"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/plans"
)

// operation is what a command does to the sites of a plan file: it applies the plan,
// takes the sites away, or changes their credentials.
type operation struct {
	*app
	plan     planner
	question string     // asked before anything changes
	done     string     // what became of a site where all went well
	saved    *savedPlan // what is to be applied; nil for a plan file
	flags    applyFlags
}

// applyFlags are the flags of operations.
type applyFlags struct {
	yes      bool // ask nothing
	recover  bool // first roll back what an interrupted run has left, without asking
	noRevert bool // no host rolls the run back by itself
	verify   bool // place a test call in any case
}

// addTo adds the flags that all operations have.
func (f *applyFlags) addTo(c *cobra.Command) {
	c.Flags().BoolVarP(&f.yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&f.recover, "recover", false, "first roll back, without asking, what an interrupted run has left")
	c.Flags().BoolVar(&f.noRevert, "no-revert", false, "let no host roll the run back by itself when this laptop is gone")
}

// run connects to the hosts of the sites, and to observers where they can be reached,
// makes the plans after what earlier runs have left half-way was rolled back, and
// hands them to do.
func (o *operation) run(ctx context.Context, f *plans.File, observers []string, do func(context.Context, *session, plans.Plan) error) error {
	s, err := o.connect(ctx, f, observers...)
	if err != nil {
		return err
	}
	defer s.Close()
	ended := func(err error) error { return err }
	p, past, err := s.planAll(ctx, o.plan)
	if errors.Is(err, engine.ErrUnfinished) {
		if err := o.recoverInterrupted(ctx, s, past, err); err != nil {
			return err
		}
		ended = afterRecovery
		p, past, err = s.planAll(ctx, o.plan)
	}
	o.warnOfDoubt(past, err)
	if err != nil {
		return ended(err)
	}
	return ended(do(ctx, s, p))
}

// applyPlan shows a plan, asks and applies it.
func (o *operation) applyPlan(ctx context.Context, s *session, p plans.Plan) error {
	if err := o.screen.Plan(p); err != nil {
		return err
	}
	switch {
	case blocked(p):
		return exitCode(exitError)
	case p.Empty():
		return o.verifyUnchanged(ctx, s, p)
	}
	o.countCalls(ctx, s, s.file.Sites, p.Sites)
	if err := o.confirm(ctx, o.flags.yes, o.question); err != nil {
		return err
	}
	defer o.secondInterrupt(ctx)()
	if err := o.applyAll(ctx, s, p); err != nil {
		return err
	}
	return o.verifyUnchanged(ctx, s, p)
}

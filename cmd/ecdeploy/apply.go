package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/view"
	"github.com/emdecloud/ecdeploy/plans"
)

func (a *app) applyCmd() *cobra.Command {
	o := operation{app: a, plan: keepKeys, question: "Apply this plan?", done: "applied"}
	c := &cobra.Command{
		Use: "apply FILE", Short: "Make hosts what a plan file or a saved plan says, or leave them as they are", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) (err error) {
			var f *plans.File
			if f, o.saved, err = a.loadToApply(args[0]); err != nil {
				return err
			}
			return o.run(c.Context(), f, observersOf(f), func(ctx context.Context, s *session, p plans.Plan) error {
				if err := o.checkDrift(s.file, p); err != nil {
					return err
				}
				return o.applyPlan(ctx, s, p)
			})
		},
	}
	o.flags.addTo(c)
	c.Flags().BoolVar(&o.flags.verify, "verify", false, "place a test call even where nothing changes, and whatever level verify {} has")
	return c
}

// applyAll applies the sites at once, except for those that share a host: they
// come one after the other, in the order of the plan file. After a failure no
// further site is begun.
func (o *operation) applyAll(ctx context.Context, s *session, p plans.Plan) error {
	sites := s.file.Sites
	emit := s.noting(o.screen.Event)
	outcomes := engine.Rollout{
		Turns: plans.Rollout(sites, p),
		Again: func(ctx context.Context, i int) error { return o.planAgain(ctx, s, sites[i], &p.Sites[i]) },
		Apply: func(ctx context.Context, i int) error { return o.applySite(ctx, s, sites[i], p.Sites[i], emit) },
	}.Run(ctx)
	var rows []view.Row
	var errs []error
	applied := false
	for i, out := range outcomes {
		name, took := sites[i].ServerName, ""
		if out.Err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, out.Err))
		}
		if out.Fate == engine.FateApplied {
			applied = true
			took = out.Took.Round(100 * time.Millisecond).String()
		}
		rows = append(rows, view.Row{name, o.outcome(out), took})
	}
	o.screen.Outcomes(rows)
	err := errors.Join(errs...)
	if err != nil && applied {
		return partlyApplied{err}
	}
	return err
}

// partlyApplied says that besides the site that failed others were applied and
// stay so.
type partlyApplied struct{ error }

func (e partlyApplied) Unwrap() error { return e.error }

// planAgain plans a site again after another one was applied: they may share
// hosts. A plan that came out different is shown and asked about again.
func (o *operation) planAgain(ctx context.Context, s *session, site plans.Site, p *plans.SitePlan) error {
	again, err := o.plan(ctx, s.file, site, s.round())
	if err != nil {
		return err
	}
	same, err := p.SameChanges(again)
	if err != nil || same {
		return err
	}
	if err := o.checkAgain(site); err != nil {
		return err
	}
	*p = again
	if err := o.screen.Plan(plans.Plan{Sites: []plans.SitePlan{again}}); err != nil {
		return err
	}
	if again.Blocked() {
		return exitCode(exitError)
	}
	o.countCalls(ctx, s, []plans.Site{site}, []plans.SitePlan{again})
	return o.confirm(ctx, o.flags.yes, "The site before this one changed this plan. Apply it as shown now?")
}

// outcome is what became of a site, for people.
func (o *operation) outcome(out engine.SiteOutcome) string {
	switch {
	case out.Fate == engine.FateIdle:
		return "nothing to do"
	case out.Fate == engine.FateNotBegun:
		return "not begun"
	case out.Fate == engine.FateApplied:
		return o.done
	case errors.Is(out.Err, engine.ErrInDoubt):
		return "failed; the rollback is not complete"
	case errors.Is(out.Err, engine.ErrRolledBack):
		return "failed; every host is as before"
	case errors.Is(out.Err, errDrift):
		return "not begun; to be planned again"
	}
	return "failed; nothing was changed"
}

func (o *operation) applySite(ctx context.Context, s *session, site plans.Site, p plans.SitePlan, emit engine.Sink) error {
	check, err := checker(site)
	if err != nil {
		return err
	}
	run := engine.Run{
		ID: engine.NewRunID(now()), Version: version, Hosts: s.hosts, Checks: check, Emit: emit,
		NewSecrets:  plans.NewSecrets,
		Replan:      func(ctx context.Context) (plans.SitePlan, error) { return o.plan(ctx, s.file, site, s.round()) },
		RevertAfter: site.RevertAfter, Seen: s.seen(), Prove: o.prove(s, site, p, emit),
	}
	if o.flags.noRevert {
		run.RevertAfter = 0
	}
	return run.Apply(ctx, p)
}

// confirm asks; without a terminal and without --yes nothing is done.
func (a *app) confirm(ctx context.Context, yes bool, question string) error {
	if yes {
		return nil
	}
	if !a.screen.Interactive() {
		return hint.New("there is no terminal to ask on", "--yes applies without asking")
	}
	return a.screen.Confirm(ctx, question)
}

// secondInterrupt says what a first Ctrl-C does, and lets a second one end the
// program at once, after saying what it leaves.
func (a *app) secondInterrupt(ctx context.Context) (stop func()) {
	c := make(chan os.Signal, 1)
	done := make(chan struct{})
	go func() {
		select {
		case <-done:
			return
		case <-ctx.Done():
		}
		signal.Notify(c, os.Interrupt, syscall.SIGTERM)
		defer signal.Stop(c)
		a.screen.Urgent("interrupted: rolling back; a second Ctrl-C leaves hosts half-way")
		select {
		case <-done:
		case <-c:
			a.screen.Urgent("ended half-way. The journals on the hosts undo it:\n  ecdeploy rollback FILE\n" +
				"  or, on each host: sudo sh " + engine.Root + "/runs/RUN/rollback.sh")
			os.Exit(exitInDoubt)
		}
	}()
	return func() { close(done) }
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/view"
	"github.com/emdecloud/ecdeploy/plans"
)

func (a *app) applyCmd() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "apply FILE", Short: "Make hosts what a plan file or a saved plan says, or leave them as they are", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			a.looks = true
			f, err := a.loadToApply(args[0])
			if err != nil {
				return err
			}
			return a.afterTakeBack(a.apply(c.Context(), f, yes))
		},
	}
	a.applyFlags(c, &yes)
	c.Flags().BoolVar(&a.verifies, "verify", false, "hold a call even where nothing changes, and whatever level verify {} has")
	return c
}

// applyFlags are the flags of all commands that apply a plan.
func (a *app) applyFlags(c *cobra.Command, yes *bool) {
	c.Flags().BoolVarP(yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&a.recover, "recover", false, "first take back, without asking, what a run that was cut has left")
	c.Flags().BoolVar(&a.noRevert, "no-revert", false, "let no host take the run back by itself when this laptop is gone")
}

func (a *app) apply(ctx context.Context, f *plans.File, yes bool) error {
	s, err := a.connect(ctx, f)
	if err != nil {
		return err
	}
	defer s.Close()
	p, err := a.planToApply(ctx, s)
	if err != nil {
		return err
	}
	if err := a.checkDrift(s.file, p); err != nil {
		return err
	}
	return a.applyPlan(ctx, s, p, yes)
}

// planToApply makes the plans of all sites, after what earlier runs have left
// half-way was taken back.
func (a *app) planToApply(ctx context.Context, s *session) (plans.Plan, error) {
	p, past, err := s.planAll(ctx)
	if errors.Is(err, engine.ErrUnfinished) {
		if err := a.recoverCut(ctx, s, past, err); err != nil {
			return plans.Plan{}, err
		}
		p, past, err = s.planAll(ctx)
	}
	a.warnOfDoubt(past, err)
	return p, err
}

// applyPlan shows a plan, asks and applies it.
func (a *app) applyPlan(ctx context.Context, s *session, p plans.Plan, yes bool) error {
	if err := a.screen.Plan(p); err != nil {
		return err
	}
	switch {
	case blocked(p):
		return exitCode(exitError)
	case p.Empty():
		return a.verifyUnchanged(ctx, s, p)
	}
	a.countCalls(ctx, s, s.file.Sites, p.Sites)
	question := "Apply this plan?"
	if a.destroys {
		question = "Take away what is listed? Nobody can call any more then."
	}
	if err := a.confirm(ctx, yes, question); err != nil {
		return err
	}
	defer a.secondInterrupt(ctx)()
	if err := a.applyAll(ctx, s, p, yes); err != nil {
		return err
	}
	return a.verifyUnchanged(ctx, s, p)
}

// applyAll applies the sites at once, but for those that share a host: they
// come one after the other, in the order of the plan file. After a failure no
// further site is begun.
func (a *app) applyAll(ctx context.Context, s *session, p plans.Plan, yes bool) error {
	sites := s.file.Sites
	rows := make([]view.Row, len(sites))
	errs := make([]error, len(sites))
	done := make([]chan struct{}, len(sites))
	var failed, applied atomic.Bool
	var asking sync.Mutex
	emit := s.noting(a.screen.Event)
	var g errgroup.Group
	for i, site := range sites {
		done[i] = make(chan struct{})
		g.Go(func() error {
			defer close(done[i])
			again := false
			for j, before := range sites[:i] {
				if p.Sites[j].Empty() || !shareHost(site, before) {
					continue
				}
				<-done[j]
				again = true
			}
			began := time.Now()
			switch {
			case p.Sites[i].Empty():
				rows[i] = view.Row{site.ServerName, "nothing to do", ""}
				return nil
			case failed.Load():
				rows[i] = view.Row{site.ServerName, "not begun", ""}
				return nil
			case again:
				asking.Lock()
				errs[i] = a.planAgain(ctx, s, site, &p.Sites[i], yes)
				asking.Unlock()
			}
			if errs[i] == nil {
				errs[i] = a.applySite(ctx, s, site, p.Sites[i], emit)
			}
			if errs[i] != nil {
				failed.Store(true)
				rows[i] = view.Row{site.ServerName, outcome(errs[i]), ""}
				errs[i] = fmt.Errorf("%s: %w", site.ServerName, errs[i])
				return nil
			}
			applied.Store(true)
			rows[i] = view.Row{site.ServerName, a.done(), time.Since(began).Round(100 * time.Millisecond).String()}
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	a.screen.Outcomes(rows)
	err := errors.Join(errs...)
	if err != nil && applied.Load() {
		return partlyApplied{err}
	}
	return err
}

// done is what became of a site where all went well.
func (a *app) done() string {
	if a.destroys {
		return "taken away"
	}
	return "applied"
}

// partlyApplied says that beside the site that failed others were applied and
// stay so.
type partlyApplied struct{ error }

func (e partlyApplied) Unwrap() error { return e.error }

// planAgain plans a site anew after another one was applied: they may share
// hosts. A plan that came out different is shown and asked about again.
func (a *app) planAgain(ctx context.Context, s *session, site plans.Site, p *plans.SitePlan, yes bool) error {
	again, err := s.plan(ctx, site)
	if err != nil {
		return err
	}
	same, err := p.SameChanges(again)
	if err != nil || same {
		return err
	}
	if err := a.checkAgain(site); err != nil {
		return err
	}
	*p = again
	if err := a.screen.Plan(plans.Plan{Sites: []plans.SitePlan{again}}); err != nil {
		return err
	}
	if again.Blocked() {
		return exitCode(exitError)
	}
	a.countCalls(ctx, s, []plans.Site{site}, []plans.SitePlan{again})
	return a.confirm(ctx, yes, "The site before this one changed this plan. Apply it as shown now?")
}

func outcome(err error) string {
	switch {
	case errors.Is(err, engine.ErrInDoubt):
		return "failed; the rollback is not complete"
	case errors.Is(err, engine.ErrRolledBack):
		return "failed; every host is as before"
	case errors.Is(err, errDrift):
		return "not begun; to be planned again"
	}
	return "failed; nothing was changed"
}

func (a *app) applySite(ctx context.Context, s *session, site plans.Site, p plans.SitePlan, emit engine.Sink) error {
	check, err := checker(site)
	if err != nil {
		return err
	}
	run := engine.Run{
		ID: engine.NewRunID(now()), Version: version, Hosts: s.hosts, Checks: check, Emit: emit,
		Replan:      func(ctx context.Context) (plans.SitePlan, error) { return s.plan(ctx, site) },
		RevertAfter: site.RevertAfter, Seen: s.seen(), Prove: a.prove(s, site, p, emit),
	}
	if a.noRevert {
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
			a.screen.Urgent("ended half-way. The journals on the hosts lead back:\n  ecdeploy rollback FILE\n  or, on each host: sudo sh " + engine.Root + "/runs/RUN/rollback.sh")
			os.Exit(exitInDoubt)
		}
	}()
	return func() { close(done) }
}

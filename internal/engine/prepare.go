package engine

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/steps"
)

// prepareTime bounds bringing one image, over whatever line there is.
const prepareTime = time.Hour

// lock takes all hosts in the order of their names; when one is busy it gives
// the others back.
func (s *siteRun) lock(ctx context.Context) (release func() error, err error) {
	s.phase("lock")
	var held []*hostRun
	release = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		var errs []error
		for _, h := range held {
			errs = append(errs, h.journal.discard(ctx, h.kept))
		}
		return errors.Join(errs...)
	}
	for _, h := range s.hosts {
		held = append(held, h) // discard frees only what this run holds
		if err := lock(ctx, h, s.plan.Site, s.ID); err != nil {
			return nil, errors.Join(err, release())
		}
	}
	return release, nil
}

// prepare does everything that changes nothing, or nothing that a rollback
// would undo: the plan again, images, staging, validators.
func (s *siteRun) prepare(ctx context.Context) error {
	again, err := s.Replan(ctx)
	if err != nil {
		return err
	}
	same, err := s.plan.SameChanges(again)
	if err != nil {
		return err
	}
	if !same {
		return hint.Wrap(steps.ErrDrift, "look at the plan again: ecdeploy plan")
	}
	if again.Blocked() {
		return hint.Wrap(fmt.Errorf("%w: it cannot be applied any more", steps.ErrDrift), "look at the plan again: ecdeploy plan")
	}
	s.plan = again
	if s.plan.Secrets.IsZero() {
		if s.plan.Secrets, err = s.NewSecrets(); err != nil {
			return err
		}
	}
	return s.each(ctx, "stage", func(ctx context.Context, h *hostRun) error {
		if err := s.canCheck(ctx, h); err != nil {
			return err
		}
		if err := s.resolve(ctx, h); err != nil {
			return err
		}
		if err := s.images(ctx, h); err != nil {
			return err
		}
		s.progress(h, "stages its changes")
		if err := h.journal.stage(ctx, s.about(), h.actions, s.plan.Records[h.Name()]); err != nil {
			return err
		}
		return s.validate(ctx, h)
	})
}

// canCheck finds out before anything changes that the checks will not get
// through sshd.
func (s *siteRun) canCheck(ctx context.Context, on *hostRun) error {
	for _, h := range s.plan.Hosts {
		for _, st := range h.Steps {
			if h.Host == on.Name() && slices.ContainsFunc(st.Checks, func(c steps.Check) bool { return c.Container == nil }) {
				return on.Forwards(ctx)
			}
		}
	}
	return nil
}

// resolve fills in secrets and current bytes, in one flight for all changes.
func (s *siteRun) resolve(ctx context.Context, on *hostRun) error {
	var acts []action
	for _, h := range s.plan.Hosts {
		for _, st := range h.Steps {
			for _, c := range st.Changes {
				if h.Host == on.Name() {
					acts = append(acts, action{n: len(acts) + 1, stage: st.Stage, step: st.Step, change: c})
				}
			}
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	for i := range acts {
		g.Go(func() (err error) {
			env := steps.Env{Host: on, Run: s.ID, Secrets: s.plan.Secrets, Change: fmt.Sprintf("%04d", acts[i].n)}
			acts[i].resolved, err = acts[i].change.Resolve(ctx, env)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	on.actions = acts
	return nil
}

// images brings what is kept on a rollback, and leaves the rest to do.
func (s *siteRun) images(ctx context.Context, h *hostRun) error {
	var rest []action
	for _, a := range h.actions {
		if a.resolved.Prepare == nil {
			rest = append(rest, a)
			continue
		}
		began := time.Now()
		ctx, cancel := context.WithTimeoutCause(ctx, prepareTime, fmt.Errorf("not done within %s", prepareTime))
		err := a.resolved.Prepare(ctx, h.Host, func(text string) { s.progress(h, text) })
		cancel()
		s.changed(h, a, time.Since(began), err)
		if err != nil {
			return err
		}
		h.kept = append(h.kept, a)
	}
	h.actions = rest
	return nil
}

func (s *siteRun) validate(ctx context.Context, h *hostRun) error {
	for i := range h.actions {
		a := &h.actions[i]
		if a.resolved.Check != "" {
			s.progress(h, "checks "+a.change.Summary().Title)
		}
		before, err := h.journal.check(ctx, *a)
		if err != nil {
			return err
		}
		a.unproved = !before
	}
	return nil
}

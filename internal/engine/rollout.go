package engine

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/steps"
)

// sitesAtOnce is how many sites are under way at the same time, those that wait for
// another one among them.
const sitesAtOnce = 32

// Fate is what became of a site in a rollout.
type Fate int

// The fates of sites.
const (
	FateIdle     Fate = iota // there was nothing to do
	FateNotBegun             // another site had failed before
	FateApplied
	FateFailed
)

// SiteOutcome is how a rollout ended for one site.
type SiteOutcome struct {
	Fate Fate
	Took time.Duration // since its turn came; 0 unless it was applied
	Err  error         // why it failed; nil for all other fates
}

// Rollout applies the sites of a plan, each when its turn comes. Both functions take
// the place of a site in the plan.
type Rollout struct {
	Turns []steps.Turn // by plans.Rollout
	// Again is called before Apply for a site that others were applied before, since
	// they may have changed its plan. It may ask a person: it is called for one site
	// at a time.
	Again func(ctx context.Context, site int) error
	// Apply is called for several sites at once.
	Apply func(ctx context.Context, site int) error
}

// Run applies all sites and waits for them. Once a site has failed, no other one is
// begun; those under way go on to their end. The outcomes are in the order of Turns.
func (r Rollout) Run(ctx context.Context) []SiteOutcome {
	out := make([]SiteOutcome, len(r.Turns))
	done := make([]chan struct{}, len(r.Turns))
	var failed atomic.Bool
	var asking sync.Mutex
	var g errgroup.Group
	g.SetLimit(sitesAtOnce) // a site waits for earlier ones only, and these have a place already
	for i, turn := range r.Turns {
		done[i] = make(chan struct{})
		if turn.Idle {
			close(done[i])
			continue
		}
		g.Go(func() error {
			defer close(done[i])
			for _, before := range turn.After {
				<-done[before]
			}
			if failed.Load() {
				out[i].Fate = FateNotBegun
				return nil
			}
			began := time.Now()
			if err := r.carryOut(ctx, i, &asking); err != nil {
				failed.Store(true)
				out[i] = SiteOutcome{Fate: FateFailed, Err: err}
				return nil
			}
			out[i] = SiteOutcome{Fate: FateApplied, Took: time.Since(began)}
			return nil
		})
	}
	_ = g.Wait() // the errors are in out
	return out
}

// carryOut applies one site whose turn has come.
func (r Rollout) carryOut(ctx context.Context, i int, asking *sync.Mutex) error {
	if len(r.Turns[i].After) > 0 {
		asking.Lock()
		err := r.Again(ctx, i)
		asking.Unlock()
		if err != nil {
			return err
		}
	}
	return r.Apply(ctx, i)
}

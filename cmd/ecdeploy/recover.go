package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/plans"
)

// recoverCut says what earlier runs have left half-way on the hosts, and takes
// it back: with --recover, or where a person agrees. A site that was cut between
// two commits is named, and applying the plan file again carries it forward.
func (a *app) recoverCut(ctx context.Context, s *session) error {
	past, err := s.histories(ctx)
	if err != nil {
		return err
	}
	for _, p := range engine.InDoubt(past) {
		fmt.Fprintf(a.err, "in doubt: %s: %s, and another host of the site took it back. Applying goes forward; `ecdeploy rollback` goes back.\n", p.Host, p)
	}
	var cut []engine.Past
	for _, p := range past {
		if p.Unfinished() && !p.Alive {
			cut = append(cut, p)
		}
	}
	if len(cut) == 0 {
		return nil // what goes on is found by the plan
	}
	for _, p := range cut {
		fmt.Fprintf(a.err, "unfinished: %s: %s\n", p.Host, p)
	}
	if err := a.confirm(ctx, a.recover, "Take back what is unfinished, and go on?"); err != nil {
		return errors.Join(engine.CheckFinished(cut), err)
	}
	return a.takeBack(ctx, s, cut)
}

// takeBack rolls back these runs, each on its host, the newest first.
func (a *app) takeBack(ctx context.Context, s *session, past []engine.Past) error {
	past = slices.Clone(past)
	slices.SortStableFunc(past, func(a, b engine.Past) int { return strings.Compare(b.Run, a.Run) })
	emit := a.sink()
	bad := false
	for _, p := range past {
		r := engine.Rollback(context.WithoutCancel(ctx), s.hosts[p.Host], p)
		emit(r)
		bad = bad || r.Err != "" || r.Conflicts
	}
	if bad {
		return engine.ErrInDoubt
	}
	return nil
}

// inSites leaves the runs of these sites.
func inSites(past []engine.Past, sites []plans.Site) []engine.Past {
	return slices.DeleteFunc(past, func(p engine.Past) bool {
		return !slices.ContainsFunc(sites, func(s plans.Site) bool { return s.ServerName == p.Site })
	})
}

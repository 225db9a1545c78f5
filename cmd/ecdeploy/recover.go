package main

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/plans"
)

// warnOfDoubt names sites that were interrupted between two commits, which may be why
// planning failed with err. While a run goes on, or waits to be rolled back, that
// is what counts, and err says it.
func (a *app) warnOfDoubt(past []engine.Past, err error) {
	if errors.Is(err, engine.ErrBusy) || errors.Is(err, engine.ErrUnfinished) {
		return
	}
	for _, p := range engine.InDoubt(past) {
		a.screen.Say("in doubt: %s: %s, and another host of the site is not. Applying goes forward; `ecdeploy rollback` goes back.", p.Host, p)
	}
}

// recoverInterrupted rolls back what earlier runs have left half-way on the hosts: with
// --recover, or where a person agrees. cause is the error that says so.
func (o *operation) recoverInterrupted(ctx context.Context, s *session, past []engine.Past, cause error) error {
	interrupted := slices.DeleteFunc(slices.Clone(past), func(p engine.Past) bool { return !p.Unfinished() || p.Alive })
	for _, p := range interrupted {
		o.screen.Say("unfinished: %s: %s", p.Host, p)
	}
	if !o.flags.recover && !o.screen.Interactive() {
		return cause
	}
	if err := o.confirm(ctx, o.flags.recover, "Roll back what is unfinished, and go on?"); err != nil {
		return errors.Join(cause, err)
	}
	return o.rollBackRuns(ctx, s, interrupted)
}

// afterRecovery is the error of a command that rolled back an interrupted run before:
// not everything is as it was.
func afterRecovery(err error) error {
	if err == nil {
		return nil
	}
	return recoveredError{err}
}

// recoveredError says that an interrupted run was rolled back before what failed.
type recoveredError struct{ error }

func (e recoveredError) Unwrap() error { return e.error }

// rollBackRuns rolls back these runs, each on its host, the newest first.
func (a *app) rollBackRuns(ctx context.Context, s *session, past []engine.Past) error {
	emit := s.noting(a.screen.Event)
	bad := false
	for _, p := range wayBack(past, s.file.Sites) {
		r := engine.Rollback(context.WithoutCancel(ctx), s.hosts[p.Host], p, s.heads.get(p.Host).AuditHead)
		emit(r)
		bad = bad || r.Err != "" || r.Conflicts
	}
	if bad {
		return engine.ErrInDoubt
	}
	return nil
}

// wayBack are runs in the order in which they are rolled back: the newest first, and
// each on the hosts of its site as Site.WayBack has them.
func wayBack(past []engine.Past, sites []plans.Site) []engine.Past {
	hosts := map[string][]string{}
	for _, s := range sites {
		hosts[s.ServerName] = s.WayBack()
	}
	past = slices.Clone(past)
	slices.SortStableFunc(past, func(a, b engine.Past) int {
		return cmp.Or(strings.Compare(b.Run, a.Run), slices.Index(hosts[a.Site], a.Host)-slices.Index(hosts[b.Site], b.Host))
	})
	return past
}

// inSites leaves the runs of these sites.
func inSites(past []engine.Past, sites []plans.Site) []engine.Past {
	return slices.DeleteFunc(slices.Clone(past), func(p engine.Past) bool {
		return !slices.ContainsFunc(sites, func(s plans.Site) bool { return s.ServerName == p.Site })
	})
}

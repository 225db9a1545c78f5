package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/plans"
)

func (a *app) rollbackCmd() *cobra.Command {
	var yes, force bool
	c := &cobra.Command{
		Use: "rollback FILE", Short: "Roll back an interrupted run, or the last one that was finished", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.onHosts(c.Context(), args[0], func(s *session) error { return a.rollback(c.Context(), s, s.file.Sites, yes, force) })
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().BoolVar(&force, "force", false, "roll back a run that goes on, too")
	return c
}

// siteRuns is a run of one site, on the hosts that remember it.
type siteRuns struct {
	site plans.Site
	past []engine.Past
}

// rollback rolls back what was interrupted. Only where nothing was, it rolls back the
// last finished run of each site, the last site first: a site may have edited a
// file after another one.
func (a *app) rollback(ctx context.Context, s *session, sites []plans.Site, yes, force bool) error {
	past, err := s.histories(ctx)
	if err != nil {
		return err
	}
	var interrupted, finished []siteRuns
	for _, site := range sites {
		past, unfinished := lastRun(inSites(past, []plans.Site{site}))
		switch {
		case unfinished:
			interrupted = append(interrupted, siteRuns{site, past})
		case len(past) > 0:
			finished = append(finished, siteRuns{site, past})
		}
	}
	todo := interrupted
	if len(interrupted) == 0 {
		todo = finished
	}
	if len(todo) == 0 {
		return engine.ErrNothingToRollBack
	}
	slices.SortFunc(todo, func(a, b siteRuns) int { return strings.Compare(b.past[0].Run, a.past[0].Run) })
	for _, r := range todo {
		var hosts []string
		for _, p := range r.past {
			hosts = append(hosts, p.Host+" ("+p.State+")")
		}
		last := r.past[0]
		a.screen.Say("site %s: run %s by %s of %s on %s", r.site.ServerName, last.Run, last.By, last.Since.Format("2006-01-02 15:04 MST"), strings.Join(hosts, ", "))
	}
	if !force {
		for _, r := range todo {
			if i := slices.IndexFunc(r.past, func(p engine.Past) bool { return p.Alive }); i >= 0 {
				return hint.Wrap(fmt.Errorf("%s: %w: %s", r.past[i].Host, engine.ErrBusy, r.past[i]),
					"wait for its end; --force ends it and rolls it back")
			}
		}
	}
	if err := a.confirm(ctx, yes, "Roll back what is listed?"); err != nil {
		return err
	}
	var all []engine.Past
	for _, r := range todo {
		all = append(all, r.past...)
	}
	return a.rollBackRuns(ctx, s, all)
}

// lastRun is the run of a site to roll back, on all hosts that remember it: one
// that was interrupted before one that was finished. A run that was interrupted before it
// changed anything may still hold hosts.
func lastRun(all []engine.Past) (past []engine.Past, unfinished bool) {
	pick := func(wanted func(engine.Past) bool) string {
		run := ""
		for _, p := range all {
			if wanted(p) {
				run = max(run, p.Run)
			}
		}
		return run
	}
	run := pick(engine.Past.Unfinished)
	if run == "" {
		run = pick(engine.Past.Blocks)
	}
	unfinished = run != ""
	if run == "" {
		run = pick(func(p engine.Past) bool { return p.State == "committed" })
	}
	return slices.DeleteFunc(all, func(p engine.Past) bool { return p.Run != run || p.State == "reverted" }), unfinished
}

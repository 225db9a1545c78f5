package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/plans"
)

func (a *app) rollbackCmd() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "rollback FILE", Short: "Take back a run that was cut, or the last one that was finished", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.load(args[0], false)
			if err != nil {
				return err
			}
			s, err := a.connect(c.Context(), f)
			if err != nil {
				return err
			}
			defer s.Close()
			for _, site := range f.Sites {
				if err := a.rollbackSite(c.Context(), s, site, yes); err != nil {
					return fmt.Errorf("%s: %w", site.ServerName, err)
				}
			}
			return nil
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (a *app) rollbackSite(ctx context.Context, s *session, site plans.Site, yes bool) error {
	past, err := lastRun(ctx, s, site)
	if err != nil {
		return err
	}
	var hosts []string
	for _, p := range past {
		hosts = append(hosts, p.Host+" ("+p.State+")")
	}
	fmt.Fprintf(a.err, "run %s by %s of %s on %s\n", past[0].Run, past[0].By, past[0].Since.Format("2006-01-02 15:04 MST"), strings.Join(hosts, ", "))
	if err := a.confirm(ctx, yes, "Take it back?"); err != nil {
		return err
	}
	emit := a.sink()
	bad := false
	for _, p := range slices.Backward(past) {
		r := engine.Rollback(context.WithoutCancel(ctx), s.hosts[p.Host], p)
		emit(r)
		bad = bad || r.Err != "" || r.Conflicts
	}
	if bad {
		return engine.ErrInDoubt
	}
	return nil
}

// lastRun is the run to take back, on all hosts that remember it: one that was
// cut before one that was finished.
func lastRun(ctx context.Context, s *session, site plans.Site) ([]engine.Past, error) {
	var all []engine.Past
	for _, name := range site.HostNames() {
		h, err := engine.History(ctx, s.hosts[name], site.ServerName)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		all = append(all, h...)
	}
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
		run = pick(func(p engine.Past) bool { return p.State == "committed" })
	}
	if run == "" {
		return nil, engine.ErrNothingToRollBack
	}
	return slices.DeleteFunc(all, func(p engine.Past) bool { return p.Run != run || p.State == "reverted" || p.State == "staged" }), nil
}

package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/plans"
)

func (a *app) secretsCmd() *cobra.Command {
	c := &cobra.Command{Use: "secrets", Short: "Look at credentials, and change them"}
	c.AddCommand(a.secretsShowCmd(), a.secretsRotateCmd())
	return c
}

func (a *app) secretsShowCmd() *cobra.Command {
	return &cobra.Command{
		Use: "show FILE", Short: "Print LIVEKIT_KEY and LIVEKIT_SECRET of each site to standard output", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.onHosts(c.Context(), args[0], func(s *session) error { return a.showSecrets(c.Context(), s) })
		},
	}
}

func (a *app) showSecrets(ctx context.Context, s *session) error {
	for _, one := range s.planEach(ctx) {
		if one.err != nil {
			return one.err
		}
		site, p := one.site, one.plan
		if plans.KeysOf(p.Secrets).IsZero() {
			return hint.New(site.ServerName+": no credentials are on its hosts yet", "ecdeploy apply makes them")
		}
		a.screen.Secrets(site.ServerName, plans.KeysOf(p.Secrets))
	}
	return nil
}

func (a *app) secretsRotateCmd() *cobra.Command {
	o := operation{app: a, question: "Apply this plan?", done: "applied"}
	var finish bool
	c := &cobra.Command{
		Use: "rotate FILE", Short: "Change LIVEKIT_KEY and LIVEKIT_SECRET of each site, in two steps", Args: cobra.ExactArgs(1),
		Long: `Change LIVEKIT_KEY and LIVEKIT_SECRET of each site, in two steps.

The first makes a new pair, or takes the one that livekit_keys gives now. LiveKit
accepts it and the old one, so that tokens made with the old one stay valid. The
second, --finish, takes the old pair away; do it an hour later at the earliest,
when nobody is on a call. LiveKit restarts in each of them. Sites that a step has
nothing to do for are left out. Like apply, both make all else what the plan file
says, too.`,
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.load(args[0], false)
			if err != nil {
				return err
			}
			choose, idle := plans.Site.RotateKeys, errRotated
			if finish {
				choose, idle = plans.Site.DropOldKeys, nil
			}
			return o.rotate(c.Context(), f, choose, idle)
		},
	}
	o.flags.addTo(c)
	c.Flags().BoolVar(&finish, "finish", false, "end a rotation: take the old pair away")
	return c
}

// errRotated says that all sites wait for the end of a rotation.
var errRotated = hint.New("LiveKit accepts an old LIVEKIT_KEY of every site still",
	"an hour after the rotation, while nobody is on a call: ecdeploy secrets rotate --finish")

// rotate is apply with other credentials than those in use. Sites whose
// credentials stay are left out; where none is left, idle is the outcome.
func (o *operation) rotate(ctx context.Context, f *plans.File, choose func(plans.Site, context.Context) (plans.Credentials, error), idle error) error {
	chosen := map[string]plans.Credentials{}
	for _, site := range f.Sites {
		c, err := choose(site, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", site.ServerName, err)
		}
		chosen[site.ServerName] = c
	}
	o.plan = withKeys(chosen)
	return o.run(ctx, f, nil, func(ctx context.Context, s *session, p plans.Plan) error { return o.applyRotation(ctx, s, p, idle) })
}

// applyRotation applies what is left of a plan without the sites whose
// credentials stay.
func (o *operation) applyRotation(ctx context.Context, s *session, p plans.Plan, idle error) error {
	o.leaveOutKept(s.file, &p)
	switch {
	case len(p.Sites) > 0:
		return o.applyPlan(ctx, s, p)
	case idle == nil && o.screen.JSON:
		return o.screen.Plan(p) // readers of JSON wait for a plan
	}
	return idle
}

// leaveOutKept takes the sites whose credentials stay out of a plan and its file,
// and says so.
func (a *app) leaveOutKept(f *plans.File, p *plans.Plan) {
	for i := 0; i < len(p.Sites); {
		site := p.Sites[i]
		switch {
		case plans.KeysOf(site.Secrets) != plans.KeysOf(site.Found):
			i++
			continue
		case plans.KeysOf(site.Found).Old.IsZero():
			a.screen.Say("%s: there is nothing to finish: LiveKit accepts no old LIVEKIT_KEY", site.Site)
		default:
			a.screen.Say("%s: it is left out: LiveKit accepts its old LIVEKIT_KEY still, of a rotation before", site.Site)
		}
		p.Sites, f.Sites = slices.Delete(p.Sites, i, i+1), slices.Delete(f.Sites, i, i+1)
	}
}

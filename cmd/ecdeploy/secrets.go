package main

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

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
	for _, site := range s.file.Sites {
		p, err := s.plan(ctx, site)
		if err != nil {
			return err
		}
		if p.Keys.IsZero() {
			return errors.New(site.ServerName + ": no credentials are on its hosts yet\nhint: ecdeploy apply makes them")
		}
		fmt.Fprintf(a.out, "# %s\n", site.ServerName)
		if !p.Keys.Old.IsZero() {
			fmt.Fprintln(a.out, "# LiveKit accepts an old pair, too; ecdeploy secrets rotate --finish ends that")
		}
		fmt.Fprintf(a.out, "LIVEKIT_KEY=%s\nLIVEKIT_SECRET=%s\n", p.Keys.Key.Reveal(), p.Keys.Secret.Reveal())
	}
	return nil
}

func (a *app) secretsRotateCmd() *cobra.Command {
	var yes, finish bool
	c := &cobra.Command{
		Use: "rotate FILE", Short: "Change LIVEKIT_KEY and LIVEKIT_SECRET of each site, in two steps", Args: cobra.ExactArgs(1),
		Long: `Change LIVEKIT_KEY and LIVEKIT_SECRET of each site, in two steps.

The first makes a new pair, or takes the one that livekit_keys gives now. LiveKit
accepts it and the old one, so that tokens made with the old one stay good. The
second, --finish, takes the old pair away; do it an hour later at the earliest,
when nobody is on a call. LiveKit restarts in each of them. Like apply, both make
all else what the plan file says, too.`,
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.load(args[0], false)
			if err != nil {
				return err
			}
			choose := plans.Site.RotateKeys
			if finish {
				choose = plans.Site.DropOldKeys
			}
			return a.rotate(c.Context(), f, choose, yes)
		},
	}
	a.applyFlags(c, &yes)
	c.Flags().BoolVar(&finish, "finish", false, "end a rotation: take the old pair away")
	return c
}

// rotate is apply with other credentials than those in use. Sites whose
// credentials stay are left out.
func (a *app) rotate(ctx context.Context, f *plans.File, choose func(plans.Site, context.Context) (plans.Credentials, error), yes bool) error {
	chosen := map[string]plans.Credentials{}
	for _, site := range f.Sites {
		c, err := choose(site, ctx)
		if err != nil {
			return fmt.Errorf("%s: %w", site.ServerName, err)
		}
		chosen[site.ServerName] = c
	}
	s, err := a.connect(ctx, f)
	if err != nil {
		return err
	}
	defer s.Close()
	s.choose = chosen
	p, err := a.planToApply(ctx, s)
	if err != nil {
		return err
	}
	for i := 0; i < len(p.Sites); {
		if p.Sites[i].Keys != p.Sites[i].Found {
			i++
			continue
		}
		fmt.Fprintf(a.err, "%s: there is nothing to finish: LiveKit accepts no old LIVEKIT_KEY\n", p.Sites[i].Site)
		p.Sites, f.Sites = slices.Delete(p.Sites, i, i+1), slices.Delete(f.Sites, i, i+1)
	}
	if len(p.Sites) == 0 {
		return nil
	}
	return a.applyPlan(ctx, s, p, yes)
}

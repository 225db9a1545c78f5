package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/engine"
)

func (a *app) runsCmd() *cobra.Command {
	return &cobra.Command{
		Use: "runs FILE", Short: "List the runs that the hosts remember", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.remembered(c.Context(), args[0], func(_ *session, past []engine.Past) error { return a.screen.Runs(past) })
		},
	}
}

// remembered hands what the hosts remember of the chosen sites to do.
func (a *app) remembered(ctx context.Context, path string, do func(*session, []engine.Past) error) error {
	return a.onHosts(ctx, path, func(s *session) error {
		past, err := s.histories(ctx)
		if err != nil {
			return err
		}
		return do(s, inSites(past, s.file.Sites))
	})
}

func (a *app) pruneCmd() *cobra.Command {
	var yes bool
	var foreign string
	c := &cobra.Command{
		Use: "prune FILE", Short: "Forget finished runs: their before-images, and the sites' containers that they set aside", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if foreign != "" {
				return a.onHosts(c.Context(), args[0], func(s *session) error { return a.pruneForeign(c.Context(), s, foreign, yes) })
			}
			return a.remembered(c.Context(), args[0], func(s *session, past []engine.Past) error { return a.prune(c.Context(), s, past, yes) })
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	c.Flags().StringVar(&foreign, "foreign", "", "remove the container `NAME` from before ecdeploy, which was set aside, and nothing else")
	return c
}

func (a *app) prune(ctx context.Context, s *session, past []engine.Past, yes bool) error {
	if err := engine.CheckFinished(past); err != nil {
		return err
	}
	var over []engine.Past
	for _, p := range past {
		if p.State == "committed" || p.State == "reverted" {
			over = append(over, p)
		}
	}
	if len(over) == 0 {
		a.screen.Print("nothing to prune")
		return nil
	}
	if err := a.screen.Runs(over); err != nil {
		return err
	}
	if err := a.confirm(ctx, yes, "Forget these runs? They can then not be rolled back any more."); err != nil {
		return err
	}
	var errs []error
	for _, p := range over {
		if err := engine.Prune(ctx, s.hosts[p.Host], p); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", p.Host, err))
		}
	}
	return errors.Join(errs...)
}

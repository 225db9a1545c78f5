package main

import (
	"context"
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/steps"
)

func (a *app) forgetCmd() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use:   "forget HOST FILE",
		Short: "Give up a host that is gone for good: no plan names it as left behind any more",
		Args:  cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			return a.onHosts(c.Context(), args[1], func(s *session) error { return a.forget(c.Context(), s, args[0], yes) })
		},
	}
	c.Flags().BoolVarP(&yes, "yes", "y", false, "do not ask")
	return c
}

func (a *app) forget(ctx context.Context, s *session, name string, yes bool) error {
	found, err := s.standing(ctx, func(e steps.Entry) bool { return e.Kind == steps.EntryHost && (e.Title == name || e.Name == name) })
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return hint.New("no host remembers "+name, "the name is that of its host block, as a plan says it is left behind")
	}
	if err := a.confirm(ctx, yes, "Forget "+name+"? What stands there stays."); err != nil {
		return err
	}
	var errs []error
	for _, on := range s.names() {
		if len(found[on]) == 0 {
			continue
		}
		if err := engine.Forget(ctx, s.hosts[on], found[on], "host "+name); err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", on, err))
		}
	}
	return errors.Join(errs...)
}

// pruneForeign removes containers of somebody else's that were set aside, by the name
// that they had.
func (a *app) pruneForeign(ctx context.Context, s *session, name string, yes bool) error {
	found, err := s.standing(ctx, func(e steps.Entry) bool { return e.Kind == steps.EntryAside && (e.Name == name || e.Aside == name) })
	if err != nil {
		return err
	}
	if len(found) == 0 {
		return hint.New("no container "+name+" from before ecdeploy is set aside", "its name is that which it had")
	}
	for _, on := range s.names() {
		for _, e := range found[on] {
			a.screen.Print("%s: container %s (%s)", on, e.Name, e.Aside)
		}
	}
	if err := a.confirm(ctx, yes, "Remove it for good? `ecdeploy destroy` can then not bring it back."); err != nil {
		return err
	}
	var errs []error
	for _, on := range s.names() {
		for _, e := range found[on] {
			if err := engine.PruneForeign(ctx, s.hosts[on], e); err != nil {
				errs = append(errs, fmt.Errorf("%s: %w", on, err))
			}
		}
	}
	return errors.Join(errs...)
}

// standing are the entries of the chosen sites that are as wanted, by host.
func (s *session) standing(ctx context.Context, wanted func(steps.Entry) bool) (map[string][]steps.Entry, error) {
	out := map[string][]steps.Entry{}
	for _, on := range s.names() {
		res, err := s.hosts[on].Query(ctx, steps.QueryLedger)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", on, err)
		}
		ledger := steps.ParseLedger(res[0])
		if ledger.Problem != "" {
			return nil, fmt.Errorf("%s: %s", on, ledger.Problem)
		}
		for _, site := range s.file.Sites {
			for _, e := range ledger.Of(steps.Slug(site.ServerName)) {
				if wanted(e) {
					out[on] = append(out[on], e)
				}
			}
		}
	}
	return out, nil
}

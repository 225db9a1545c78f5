package main

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/plans"
)

func (a *app) validateCmd() *cobra.Command {
	return &cobra.Command{
		Use: "validate FILE", Short: "Check a plan file; dials nothing, runs nothing, reads no secret", Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			f, err := a.load(args[0], true)
			if err != nil {
				return err
			}
			if !a.screen.JSON {
				a.screen.Print("%s is valid: %d sites, %d hosts", args[0], len(f.Sites), len(f.Hosts))
			}
			return nil
		},
	}
}

func (a *app) planCmd() *cobra.Command {
	var detailed bool
	var out string
	c := &cobra.Command{
		Use: "plan FILE", Short: "Show what apply would change", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			p, err := a.plan(c.Context(), args[0], out)
			switch {
			case err != nil:
				return err
			case blocked(p):
				return exitCode(exitError)
			case detailed && !p.Empty():
				return exitCode(exitChanges)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 when there are changes")
	c.Flags().StringVar(&out, "out", "", "save the plan to `FILE`, for apply to do this and nothing else")
	return c
}

// plan makes and shows the plan of a plan file, and saves it where out is given.
func (a *app) plan(ctx context.Context, path, out string) (plans.Plan, error) {
	if out != "" {
		if err := checkOut(out); err != nil {
			return plans.Plan{}, err
		}
		// The plan file, and what stands next to it, are found again wherever the
		// plan is applied from. Not so a command with a relative path: that starts
		// from where ecdeploy does.
		abs, err := filepath.Abs(path)
		if err != nil {
			return plans.Plan{}, fmt.Errorf("find %s: %w", path, err)
		}
		path = abs
	}
	f, err := a.load(path, false)
	if err != nil {
		return plans.Plan{}, err
	}
	s, err := a.connect(ctx, f)
	if err != nil {
		return plans.Plan{}, err
	}
	defer s.Close()
	p, past, err := s.planAll(ctx, keepKeys)
	a.warnOfDoubt(past, err)
	if err != nil {
		return p, err
	}
	if err := a.screen.Plan(p); err != nil {
		return p, err
	}
	if out != "" {
		err = a.save(out, f, p)
	}
	return p, err
}

func blocked(p plans.Plan) bool {
	for _, s := range p.Sites {
		if s.Blocked() {
			return true
		}
	}
	return false
}

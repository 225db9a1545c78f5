package main

import (
	"fmt"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/view"
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
			if !a.json {
				fmt.Fprintf(a.out, "%s is valid: %d sites, %d hosts\n", args[0], len(f.Sites), len(f.Hosts))
			}
			return nil
		},
	}
}

func (a *app) planCmd() *cobra.Command {
	var detailed bool
	c := &cobra.Command{
		Use: "plan FILE", Short: "Show what apply would change", Args: cobra.ExactArgs(1),
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
			p, past, err := s.planAll(c.Context())
			if err != nil {
				return err
			}
			a.warnOfDoubt(past)
			if err := a.show(p); err != nil {
				return err
			}
			switch {
			case blocked(p):
				return exitCode(exitError)
			case detailed && !p.Empty():
				return exitCode(exitChanges)
			}
			return nil
		},
	}
	c.Flags().BoolVar(&detailed, "detailed-exitcode", false, "exit with 2 when there are changes")
	return c
}

func (a *app) show(p plans.Plan) error {
	if a.json {
		return view.NewJSON(a.out).Plan(p)
	}
	a.text().Plan(p)
	return nil
}

func blocked(p plans.Plan) bool {
	for _, s := range p.Sites {
		if s.Blocked() {
			return true
		}
	}
	return false
}

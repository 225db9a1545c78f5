package main

import (
	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/plans"
)

func (a *app) destroyCmd() *cobra.Command {
	o := operation{app: a, plan: plans.MakeRemoval, question: "Take away what is listed? Nobody can call any more then.", done: "taken away"}
	c := &cobra.Command{
		Use:   "destroy FILE",
		Short: "Take the sites away from their hosts: their containers and rules go, and files are as before the first apply",
		Args:  cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.load(args[0], false)
			if err != nil {
				return err
			}
			return o.run(c.Context(), f, nil, o.applyPlan)
		},
	}
	o.flags.addTo(c)
	return c
}

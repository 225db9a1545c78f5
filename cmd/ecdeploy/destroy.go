package main

import "github.com/spf13/cobra"

func (a *app) destroyCmd() *cobra.Command {
	var yes bool
	c := &cobra.Command{
		Use: "destroy FILE", Short: "Take the sites away from their hosts: their containers and rules go, and files are as before the first apply", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.load(args[0], false)
			if err != nil {
				return err
			}
			a.destroys = true
			return a.afterTakeBack(a.apply(c.Context(), f, yes))
		},
	}
	a.applyFlags(c, &yes)
	return c
}

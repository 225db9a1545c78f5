package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"
)

func (a *app) secretsCmd() *cobra.Command {
	c := &cobra.Command{Use: "secrets", Short: "Look at credentials"}
	c.AddCommand(&cobra.Command{
		Use: "show FILE", Short: "Print LIVEKIT_KEY and LIVEKIT_SECRET of each site to standard output", Args: cobra.ExactArgs(1),
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
				p, err := s.plan(c.Context(), site)
				if err != nil {
					return err
				}
				if p.Keys.IsZero() {
					return errors.New(site.ServerName + ": no credentials are on its hosts yet\nhint: ecdeploy apply makes them")
				}
				fmt.Fprintf(a.out, "# %s\nLIVEKIT_KEY=%s\nLIVEKIT_SECRET=%s\n", site.ServerName, p.Keys.Key.Reveal(), p.Keys.Secret.Reveal())
			}
			return nil
		},
	})
	return c
}

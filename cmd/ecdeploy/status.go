package main

import (
	"context"
	"fmt"
	"slices"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/view"
	"github.com/emdecloud/ecdeploy/plans"
)

func (a *app) statusCmd() *cobra.Command {
	return &cobra.Command{
		Use: "status FILE", Short: "Show what is deployed, whether it works and what drifted", Args: cobra.ExactArgs(1),
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
			code := exitOK
			for _, site := range f.Sites {
				got, err := a.statusSite(c.Context(), s, site)
				if err != nil {
					return fmt.Errorf("%s: %w", site.ServerName, err)
				}
				code = max(code, got)
			}
			if code != exitOK {
				return exitCode(code)
			}
			return nil
		},
	}
}

// siteStatus is what status says of a site.
type siteStatus struct {
	Site   string           `json:"site"`
	Runs   []engine.Past    `json:"runs"`
	Checks []engine.Checked `json:"checks"`
	// Findings are what the steps saw that a person should know.
	Findings []plans.Finding `json:"findings"`
	Drifted  bool            `json:"drifted"`
}

func (a *app) statusSite(ctx context.Context, s *session, site plans.Site) (int, error) {
	p, err := s.plan(ctx, site)
	if err != nil {
		return exitError, err
	}
	check, err := checker(site)
	if err != nil {
		return exitError, err
	}
	st := siteStatus{Site: site.ServerName, Drifted: !p.Empty()}
	code := exitOK
	if st.Drifted {
		code = exitChanges
	}
	if p.Blocked() {
		code = exitUnhealthy
	}
	for _, h := range p.Hosts {
		past, err := engine.History(ctx, s.hosts[h.Host], site.ServerName)
		if err != nil {
			return exitError, err
		}
		st.Runs = append(st.Runs, past...)
		if slices.ContainsFunc(past, engine.Past.Unfinished) {
			code = exitUnhealthy
		}
		for _, step := range h.Steps {
			st.Findings = append(st.Findings, step.Findings...)
			for _, c := range step.Checks {
				got := check.Once(ctx, s.hosts[h.Host], c)
				got.Site, got.Host = site.ServerName, h.Host
				if got.Err != "" {
					code = exitUnhealthy
				}
				st.Checks = append(st.Checks, got)
			}
		}
	}
	if a.json {
		return code, view.NewJSON(a.out).Write("status", st)
	}
	a.showStatus(site, st, p)
	return code, nil
}

func (a *app) showStatus(site plans.Site, st siteStatus, p plans.SitePlan) {
	t := a.text()
	rows := []view.Row{{"COMPONENT", "HOST", "WHAT"},
		{"sfu", site.SFU.Host, site.SFU.Container + "  " + site.SFU.Image + "  " + site.SFU.URL},
		{"auth", site.Auth.Host, site.Auth.Container + "  " + site.Auth.Image + "  " + site.Auth.URL}}
	fmt.Fprintf(a.out, "site %s\n", site.ServerName)
	t.Table(rows)
	rows = []view.Row{{"RUN", "HOST", "STATE", "BY"}}
	for _, r := range st.Runs {
		rows = append(rows, view.Row{r.Run, r.Host, r.State, r.By})
	}
	fmt.Fprintln(a.out)
	t.Table(rows)
	rows = []view.Row{{"CHECK", "HOST", "RESULT"}}
	for _, c := range st.Checks {
		result := "ok"
		if c.Err != "" {
			result = "FAILED: " + c.Err
		}
		rows = append(rows, view.Row{c.Name, c.Host, result})
	}
	fmt.Fprintln(a.out)
	t.Table(rows)
	fmt.Fprintln(a.out)
	switch {
	case p.Blocked():
		fmt.Fprintln(a.out, "whether something drifted cannot be told:")
	case st.Drifted:
		fmt.Fprintln(a.out, "drift: the hosts differ from the plan file")
	default:
		fmt.Fprintln(a.out, "no drift: the hosts are as the plan file says")
		if !p.Found.Old.IsZero() {
			fmt.Fprintln(a.out, "LiveKit accepts the old LIVEKIT_KEY of a rotation, too; ecdeploy secrets rotate --finish ends that")
		}
	}
	if p.Blocked() || st.Drifted {
		t.Plan(plans.Plan{Sites: []plans.SitePlan{p}})
	}
}

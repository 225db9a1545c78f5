package main

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/view"
	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

func (a *app) statusCmd() *cobra.Command {
	return &cobra.Command{
		Use: "status FILE", Short: "Show what is deployed, whether it works and what drifted", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.onHosts(c.Context(), args[0], func(s *session) error { return a.status(c.Context(), s) })
		},
	}
}

func (a *app) status(ctx context.Context, s *session) error {
	past, err := s.histories(ctx)
	if err != nil {
		return err
	}
	code := exitOK
	for _, one := range s.planEach(ctx) {
		got, err := exitError, one.err
		if err == nil {
			got, err = a.statusSite(ctx, s, one.site, one.plan, inSites(past, []plans.Site{one.site}))
		}
		if err != nil {
			return fmt.Errorf("%s: %w", one.site.ServerName, err)
		}
		code = max(code, got)
	}
	if code != exitOK {
		return exitCode(code)
	}
	return nil
}

// containerText prints WHAT, a tab and STATE for the container $1.
const containerText = `if all=$(timeout 8 docker ps -a --no-trunc --filter "name=^/?$1$" --format '{{.Names}}  {{.Image}}	{{.Status}}' 2>/dev/null); then
	printf '%s\n' "$all" | head -n 1 | grep . || printf '%s\t\n' "$1"
elif command -v docker >/dev/null; then
	printf '%s\tunknown: the Docker engine does not answer\n' "$1"
else
	printf '%s\t\n' "$1"
fi`

// unitText prints it for the service $1, which is called $2; the version command
// stands before it.
const unitText = `
active() {
	if [ -d /run/systemd/system ]; then systemctl is-active "$1" 2>/dev/null || :; elif service "${1%.service}" status >/dev/null 2>&1; then echo active; else echo 'not active, or unknown'; fi
}
v=$(version)
printf '%s %s\t%s\n' "$2" "$v" "$([ -z "$v" ] || active "$1")"`

// question asks what is there of a part; false where nothing can be asked.
func question(p steps.Part) (host.Cmd, bool) {
	switch {
	case p.Run != nil:
		return host.Sh(containerText, p.Run.Container), true
	case p.Unit != nil:
		return host.Sh("version() { "+p.Unit.Version+"; }"+unitText, p.Unit.Name, p.Unit.Title), true
	}
	return host.Cmd{}, false
}

// deployedOn asks the hosts of a site what is on them.
func deployedOn(ctx context.Context, s *session, site plans.Site) ([]view.Deployed, error) {
	known := site.Context()
	var out []view.Deployed
	for _, name := range known.Hosts() {
		var asked []steps.Part
		var cmds []host.Cmd
		for _, p := range known.On(name) {
			if q, ok := question(p); ok {
				asked, cmds = append(asked, p), append(cmds, q)
			}
		}
		res, err := s.hosts[name].Query(ctx, cmds...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for i, p := range asked {
			if !res[i].OK() {
				return nil, fmt.Errorf("%s: look at %s: exit status %d: %s", name, p.Title, res[i].Code, host.Clean(string(res[i].Stderr)))
			}
			what, state, _ := strings.Cut(strings.TrimRight(host.Clean(string(res[i].Stdout)), "\n"), "\t")
			component := p.Name
			if p.Proxy != nil {
				component = "proxy"
			}
			out = append(out, view.Deployed{Component: component, Host: name, What: strings.TrimSpace(what), State: state})
		}
	}
	return out, nil
}

func (a *app) statusSite(ctx context.Context, s *session, site plans.Site, p plans.SitePlan, past []engine.Past) (int, error) {
	check, err := checker(site)
	if err != nil {
		return exitError, err
	}
	st := view.Status{Site: site.ServerName, Runs: past, Drifted: !p.Empty()}
	if st.Deployed, err = deployedOn(ctx, s, site); err != nil {
		return exitError, err
	}
	code := exitOK
	if st.Drifted {
		code = exitChanges
	}
	if p.Blocked() || slices.ContainsFunc(past, engine.Past.Unfinished) {
		code = exitUnhealthy
	}
	for _, h := range p.Hosts {
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
	return code, a.screen.Status(st, p)
}

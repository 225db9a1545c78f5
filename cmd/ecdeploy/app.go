package main

import (
	"context"
	"crypto/x509"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/view"
	"github.com/emdecloud/ecdeploy/plans"
)

// app is what all commands share: flags, the screen, and how to reach hosts.
type app struct {
	screen     *view.Screen
	vars       []string
	limit      []string
	acceptNew  bool
	sshConfig  string
	knownHosts []string
	verbose    int
}

// load reads the plan file and shows its mistakes.
func (a *app) load(path string, validate bool) (*plans.File, error) {
	vars := map[string]string{}
	for _, v := range a.vars {
		name, value, ok := strings.Cut(v, "=")
		if !ok {
			return nil, fmt.Errorf("-var %q is not NAME=VALUE", v)
		}
		vars[name] = value
	}
	f, mistakes := plans.Load(path, plans.LoadOptions{Vars: vars, Environ: os.LookupEnv, Validate: validate})
	if len(mistakes) > 0 {
		a.screen.Mistakes(mistakes)
	}
	if f == nil {
		return nil, exitCode(exitError)
	}
	sites, err := a.chosen(f)
	if err != nil {
		return nil, err
	}
	f.Sites = sites
	return f, nil
}

// chosen are the sites that --limit leaves.
func (a *app) chosen(f *plans.File) ([]plans.Site, error) {
	if len(a.limit) == 0 {
		return f.Sites, nil
	}
	var out []plans.Site
	used := map[string]bool{}
	for _, s := range f.Sites {
		for _, l := range a.limit {
			if l == s.ServerName || slices.Contains(s.HostNames(), l) {
				used[l] = true
				if !slices.ContainsFunc(out, func(o plans.Site) bool { return o.ServerName == s.ServerName }) {
					out = append(out, s)
				}
			}
		}
	}
	for _, l := range a.limit {
		if !used[l] {
			return nil, fmt.Errorf("--limit: the plan file has no site or host %q", l)
		}
	}
	return out, nil
}

// wrapHost and now are what tests put faults into: the transport, and the
// laptop's clock.
var (
	wrapHost = func(h host.Host) host.Host { return h }
	now      = time.Now
)

// session is a set of connected hosts.
type session struct {
	file      *plans.File
	dialer    *host.Dialer
	hosts     map[string]host.Host
	observers map[string]host.Host // hosts of no site, which only look at calls
	heads     heads
	screen    *view.Screen
	noteMu    sync.Mutex
	truncated []string // hosts whose audit log was truncated; guarded by noteMu
}

// names are the hosts' names, sorted.
func (s *session) names() []string { return slices.Sorted(maps.Keys(s.hosts)) }

// histories are the runs of all sites that the hosts remember, in the order of
// the hosts' names. It warns of audit logs that were truncated.
func (s *session) histories(ctx context.Context) ([]engine.Past, error) {
	names := s.names()
	found := make([]engine.Memory, len(names))
	g, ctx := errgroup.WithContext(ctx)
	for i, name := range names {
		g.Go(func() (err error) {
			if found[i], err = engine.Recall(ctx, s.hosts[name], s.heads.get(name).AuditHead); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
			return nil
		})
	}
	if err := g.Wait(); err != nil {
		return nil, err
	}
	var all []engine.Past
	for i, name := range names {
		all = append(all, found[i].Runs...)
		s.note(name, found[i].Audit, found[i].Cut)
	}
	return all, nil
}

func (s *session) Close() {
	for _, h := range s.hosts {
		_ = h.Close() // nothing depends on how a connection ends
	}
	for _, h := range s.observers {
		_ = h.Close() // likewise
	}
	s.dialer.Close()
}

// checker trusts the system's CAs and those that the site names.
func checker(site plans.Site) (engine.Checker, error) {
	if site.Verify.CAFile == "" {
		return engine.Checker{}, nil
	}
	pem, err := os.ReadFile(site.Verify.CAFile)
	if err != nil {
		return engine.Checker{}, fmt.Errorf("verify.ca_file: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return engine.Checker{}, fmt.Errorf("verify.ca_file: %s holds no certificate", site.Verify.CAFile)
	}
	return engine.Checker{Roots: roots}, nil
}

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/plans"
)

// observersOf are the hosts that look at calls of the chosen sites.
func observersOf(f *plans.File) []string {
	var out []string
	for _, site := range f.Sites {
		out = append(out, site.Verify.From...)
	}
	return out
}

// connect dials all hosts of the chosen sites at once and reports every
// failure, not only the first. It also dials observers, and hosts that no site is on
// any more, and goes on without those of them that cannot be reached.
func (a *app) connect(ctx context.Context, f *plans.File, observers ...string) (*session, error) {
	opts := host.Options{SSHConfig: a.sshConfig, KnownHosts: a.knownHosts, AcceptNew: a.acceptNew}
	if a.screen.Interactive() {
		opts.Ask = a.screen.Secret
	}
	if a.verbose > 0 {
		opts.Trace = a.screen.Trace
	}
	d, err := host.NewDialer(opts)
	if err != nil {
		return nil, err
	}
	s := &session{file: f, dialer: d, hosts: map[string]host.Host{}, observers: map[string]host.Host{}, heads: newHeads(f), screen: a.screen}
	wanted := map[string]bool{}
	for _, site := range f.Sites {
		for _, name := range site.HostNames() {
			wanted[name] = true
		}
	}
	var mu sync.Mutex
	var errs []error
	var g errgroup.Group
	ask := a.askOnce()
	for _, h := range f.Hosts {
		if !wanted[h.Name] && !h.Unused && !slices.Contains(observers, h.Name) {
			continue
		}
		g.Go(func() error {
			c, err := d.Dial(ctx, target(h, ask))
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err != nil && wanted[h.Name]:
				errs = append(errs, fmt.Errorf("%s: %w", h.Name, err))
			case err != nil && h.Unused:
				a.screen.Note("%s cannot be reached, so it is not known whether something of a site still stands there: %v", h.Name, err)
			case err != nil:
				a.screen.Note("%s does not look at calls: %v", h.Name, err)
			case wanted[h.Name] || h.Unused:
				s.hosts[h.Name] = wrapHost(c)
			default:
				s.observers[h.Name] = wrapHost(c)
			}
			return nil
		})
	}
	_ = g.Wait() // the errors are in errs
	if len(errs) > 0 {
		s.Close()
		return nil, errors.Join(errs...)
	}
	for _, n := range d.Notes() {
		a.screen.Note("%s", n)
	}
	return s, nil
}

// onHosts loads a plan file, connects to the hosts of the chosen sites, and does
// something with them.
func (a *app) onHosts(ctx context.Context, path string, do func(*session) error) error {
	f, err := a.load(path, false)
	if err != nil {
		return err
	}
	s, err := a.connect(ctx, f)
	if err != nil {
		return err
	}
	defer s.Close()
	return do(s)
}

func target(h plans.Host, ask func(context.Context) (host.Secret, error)) host.Target {
	t := host.Target{
		Name:           h.Name,
		Address:        h.Address,
		User:           h.User,
		Port:           h.Port,
		Identity:       h.Identity,
		Jump:           h.Jump,
		Become:         h.Become,
		ConnectTimeout: h.ConnectTimeout,
	}
	switch p := h.SudoPassword; {
	case p.Ask:
		t.SudoPassword = ask
	case p.Env != "" || p.File != "" || len(p.Command) > 0:
		t.SudoPassword = func(ctx context.Context) (host.Secret, error) {
			return secretFrom(ctx, "sudo_password", p.Env, p.File, p.Command)
		}
	}
	return t
}

// secretFrom reads what a block of the plan file names a source of, on the laptop.
func secretFrom(ctx context.Context, block, env, file string, command []string) (host.Secret, error) {
	switch {
	case env != "":
		v, ok := os.LookupEnv(env)
		if !ok {
			return host.Secret{}, fmt.Errorf("%s: %w", block, plans.NoVariable(env))
		}
		return host.NewSecret(v), nil
	case file != "":
		b, err := os.ReadFile(file)
		if err != nil {
			return host.Secret{}, fmt.Errorf("%s: %w", block, plans.NoFile(filepath.Base(file), err))
		}
		return host.NewSecret(strings.TrimRight(string(b), "\r\n")), nil
	}
	return plans.Command(ctx, command)
}

// askOnce asks for sudo's password once for all hosts.
func (a *app) askOnce() func(context.Context) (host.Secret, error) {
	var once sync.Once
	var answer host.Secret
	var err error
	return func(ctx context.Context) (host.Secret, error) {
		once.Do(func() {
			if !a.screen.Interactive() {
				err = hint.New("sudo_password { ask = true } needs a terminal", "use file, env or command in sudo_password {}")
				return
			}
			answer, err = a.screen.Secret(ctx, "sudo password: ")
		})
		return answer, err
	}
}

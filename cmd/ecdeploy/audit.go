package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/view"
	"github.com/emdecloud/ecdeploy/plans"
)

func (a *app) auditCmd() *cobra.Command {
	var accept bool
	c := &cobra.Command{
		Use: "audit FILE", Short: "Show what was done on each host, by whom, and whether that log is whole", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			return a.onHosts(c.Context(), args[0], func(s *session) error { return a.audit(c.Context(), s, accept) })
		},
	}
	c.Flags().BoolVar(&accept, "accept", false, "remember the logs as they are now, whatever was seen before")
	return c
}

func (a *app) audit(ctx context.Context, s *session, accept bool) error {
	whole := true
	for _, h := range s.names() {
		log, err := engine.ReadAudit(ctx, s.hosts[h], s.heads.get(h))
		if err != nil {
			return fmt.Errorf("%s: %w", h, err)
		}
		if err := a.showAudit(log); err != nil {
			return err
		}
		if len(log.Flaws) > 0 && !accept {
			whole = false
			continue
		}
		if n := len(log.Entries); n > 0 {
			err = s.heads.put(h, log.Entries[n-1].AuditHead)
		} else if accept {
			err = s.heads.forget(h)
		}
		if err != nil {
			return err
		}
	}
	if !whole {
		fmt.Fprintln(a.err, "hint: after a host was set up anew, `ecdeploy audit --accept` takes its log as it is now")
		return exitCode(exitUnhealthy)
	}
	return nil
}

func (a *app) showAudit(log engine.Audit) error {
	if a.json {
		return view.NewJSON(a.out).Write("audit", log)
	}
	rows := []view.Row{{"LINE", "TIME", "RUN", "EVENT", ""}}
	for _, e := range log.Entries {
		rows = append(rows, view.Row{strconv.Itoa(e.N), e.Time.Format("2006-01-02 15:04:05 MST"), e.Run, e.Event, e.Text})
	}
	fmt.Fprintf(a.out, "host %s\n", log.Host)
	t := a.text()
	if len(log.Entries) > 0 {
		t.Table(rows)
	}
	switch {
	case len(log.Flaws) > 0:
		t.Flaws(log.Flaws)
	case len(log.Entries) == 0:
		fmt.Fprintln(a.out, "nothing was done there yet")
	default:
		fmt.Fprintf(a.out, "whole: %d lines, each follows the one before it\n", len(log.Entries))
	}
	if log.Torn > 0 {
		fmt.Fprintf(a.out, "%d more were torn by a full disk or a power failure\n", log.Torn)
	}
	fmt.Fprintln(a.out)
	return nil
}

// heads are the last lines of the hosts' audit logs that this laptop has seen, a
// file for each host. A log that no longer has that line was cut.
type heads struct {
	dir   string            // "" where the laptop has no place for them
	files map[string]string // by the host's name in the plan file
}

// newHeads knows hosts by the address that the plan file gives.
func newHeads(f *plans.File) heads {
	h := heads{files: map[string]string{}}
	state := os.Getenv("XDG_STATE_HOME")
	if home, err := os.UserHomeDir(); state == "" && err == nil {
		state = filepath.Join(home, ".local", "state")
	}
	if filepath.IsAbs(state) {
		h.dir = filepath.Join(state, "ecdeploy", "audit")
	}
	for _, host := range f.Hosts {
		h.files[host.Name] = url.PathEscape(host.Address + ":" + strconv.Itoa(host.Port))
	}
	return h
}

type seenHead struct {
	engine.AuditHead
	Seen time.Time `json:"seen"`
}

// get is zero for a host that was not seen yet.
func (h heads) get(host string) engine.AuditHead {
	var s seenHead
	b, err := os.ReadFile(filepath.Join(h.dir, h.files[host]))
	if h.dir == "" || err != nil || json.Unmarshal(b, &s) != nil {
		return engine.AuditHead{}
	}
	return s.AuditHead
}

// put remembers the last line of a host's log.
func (h heads) put(host string, head engine.AuditHead) error {
	if h.dir == "" || head.IsZero() || h.get(host) == head {
		return nil
	}
	b, err := json.Marshal(seenHead{head, now().UTC().Truncate(time.Second)})
	if err != nil {
		return fmt.Errorf("remember the audit log of %s: %w", host, err)
	}
	if err := os.MkdirAll(h.dir, 0o700); err != nil {
		return fmt.Errorf("remember the audit log of %s: %w", host, err)
	}
	f, err := os.CreateTemp(h.dir, ".new")
	if err != nil {
		return fmt.Errorf("remember the audit log of %s: %w", host, err)
	}
	defer os.Remove(f.Name()) // gone already where all went well
	_, err = f.Write(append(b, '\n'))
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("remember the audit log of %s: %w", host, err)
	}
	return os.Rename(f.Name(), filepath.Join(h.dir, h.files[host]))
}

func (h heads) forget(host string) error {
	err := os.Remove(filepath.Join(h.dir, h.files[host]))
	if h.dir == "" || errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}

// noting is emit, and remembers the last lines of audit logs that events tell of.
func (s *session) noting(emit engine.Sink) engine.Sink {
	return func(e engine.Event) {
		switch e := e.(type) {
		case engine.Committed:
			s.note(e.Host, e.Audit)
		case engine.RolledBack:
			s.note(e.Host, e.Audit)
		}
		emit(e)
	}
}

// note remembers what can be remembered; a laptop that cannot must not fail a run.
func (s *session) note(host string, head engine.AuditHead) {
	if slices.Contains(s.cut, host) {
		return // until somebody accepts it
	}
	if err := s.heads.put(host, head); err != nil {
		fmt.Fprintf(s.err, "warning: %v\n", err)
	}
}

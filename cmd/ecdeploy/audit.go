package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/plans"
)

func (a *app) auditCmd() *cobra.Command {
	var accept bool
	c := &cobra.Command{
		Use: "audit FILE", Short: "Show what was done on each host, by whom, and whether that log is intact", Args: cobra.ExactArgs(1),
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
		seen := s.heads.get(h)
		log, err := engine.ReadAudit(ctx, s.hosts[h], seen.AuditHead, seen.Accepted)
		if err != nil {
			return fmt.Errorf("%s: %w", h, err)
		}
		if err := a.screen.Audit(log); err != nil {
			return err
		}
		if len(log.Flaws) > 0 && !accept {
			whole = false
			continue
		}
		var last engine.AuditHead
		if n := len(log.Entries); n > 0 {
			last = log.Entries[n-1].AuditHead
		}
		if accept {
			err = s.heads.accept(h, last)
		} else {
			err = s.heads.put(h, last)
		}
		if err != nil {
			return err
		}
	}
	if !whole {
		a.screen.Hint("after a host was reinstalled, `ecdeploy audit --accept` takes its log as it is now")
		return exitCode(exitUnhealthy)
	}
	return nil
}

// heads are the last lines of the hosts' audit logs that this laptop has seen, a
// file for each host. A log that no longer has that line was truncated.
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
		h.files[host.Name] = url.PathEscape(strings.Trim(host.Address+":"+strconv.Itoa(host.Port)+","+host.Jump, ","))
	}
	return h
}

// seenHead is what the laptop knows of a host's log.
type seenHead struct {
	engine.AuditHead
	Seen time.Time `json:"seen"`
	// Accepted is the line up to which a person took the log as it is.
	Accepted engine.AuditHead `json:"accepted,omitzero"`
}

// get is zero for a host that was not seen yet.
func (h heads) get(host string) seenHead {
	var s seenHead
	if h.dir == "" {
		return s
	}
	b, err := os.ReadFile(filepath.Join(h.dir, h.files[host]))
	if err != nil || json.Unmarshal(b, &s) != nil || !engine.IsAuditHash(s.Hash) {
		return seenHead{}
	}
	return s
}

// put remembers the last line of a host's log.
func (h heads) put(host string, head engine.AuditHead) error {
	s := h.get(host)
	if head.IsZero() || s.AuditHead == head {
		return nil
	}
	s.AuditHead = head
	return h.write(host, s)
}

// accept takes a host's log as it is; zero for none.
func (h heads) accept(host string, head engine.AuditHead) error {
	return h.write(host, seenHead{AuditHead: head, Accepted: head})
}

func (h heads) write(host string, s seenHead) error {
	if h.dir == "" {
		return nil
	}
	s.Seen = now().UTC().Truncate(time.Second)
	b, err := json.Marshal(s)
	if err == nil {
		err = os.MkdirAll(h.dir, 0o700)
	}
	if err == nil {
		err = replaceFile(filepath.Join(h.dir, h.files[host]), append(b, '\n'), 0o600)
	}
	if err != nil {
		return fmt.Errorf("remember the audit log of %s: %w", host, err)
	}
	return nil
}

// seen are the lines that the laptop saw last, by host.
func (s *session) seen() map[string]engine.AuditHead {
	out := map[string]engine.AuditHead{}
	for _, name := range s.names() {
		out[name] = s.heads.get(name).AuditHead
	}
	return out
}

// noting is emit, and remembers the last lines of audit logs that events tell of.
func (s *session) noting(emit engine.Sink) engine.Sink {
	return func(e engine.Event) {
		switch e := e.(type) {
		case engine.Committed:
			s.note(e.Host, e.Audit, e.Cut)
		case engine.RolledBack:
			s.note(e.Host, e.Audit, e.Cut)
		}
		emit(e)
	}
}

// note remembers a host's last line, or warns of a log that was truncated: then what was
// seen before stays, until somebody accepts the log. A laptop that cannot remember
// must not fail a run.
func (s *session) note(host string, head engine.AuditHead, truncated bool) {
	s.noteMu.Lock()
	defer s.noteMu.Unlock()
	if truncated && !slices.Contains(s.truncated, host) {
		s.truncated = append(s.truncated, host)
		s.screen.Warn(hint.New("the audit log of "+host+" was truncated or rewritten since this laptop saw it last",
			"ecdeploy audit shows what it says; ecdeploy audit --accept takes it as it is"))
	}
	if slices.Contains(s.truncated, host) {
		return
	}
	if err := s.heads.put(host, head); err != nil {
		s.screen.Warn(err)
	}
}

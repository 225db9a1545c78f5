package main

import (
	"errors"
	"fmt"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// A host whose admin wrote its nftables.conf: what a site needs is open after an
// apply, a reload and a boot, and closed again after a rollback and a destroy.
func TestE2ENftables(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Nftables, "wall")[0]
	c := newCLI(t)
	plan := planFile(t, lab.PlanText(t, "wall"))
	before := h.Snapshot(t)
	wantOpen(t, h, false)

	runPhase(t, "a failure after the rules", func(t *testing.T) {
		breaks, fixes := failingUnit("nginx.service", "ExecReload=\\nExecReload=", "/etc/nginx/*/*ecdeploy*")
		h.Exec(t, breaks)
		broken := h.Snapshot(t)
		if out := c.run(t, exitRolledBack, "apply", "--yes", plan); !strings.Contains(out, "restored the rules of nftables") {
			t.Errorf("the rules were not there to be restored:\n%s", out)
		}
		compareSnapshots(t, "a failure after the rules", broken, h.Snapshot(t))
		wantOpen(t, h, false)
		h.Exec(t, fixes)
	})
	runPhase(t, "apply", func(t *testing.T) {
		out := c.laptop(t, exitOK, "apply", "--yes", plan)
		if !strings.Contains(out, "+ nftables accept 7881/tcp, 50100-50200/udp") || !strings.Contains(out, "media over UDP, media over TCP") {
			t.Errorf("not opened, or no call was held:\n%s", out)
		}
		wantOpen(t, h, true)
		if out := c.run(t, exitOK, "apply", "--yes", plan); !strings.Contains(out, "nothing to do") {
			t.Error(out)
		}
	})
	runPhase(t, "found by itself", func(t *testing.T) {
		found := planFile(t, lab.PlanText(t, "wall"), `firewall "nftables" {}`, "")
		if out := c.run(t, exitOK, "plan", found); !strings.Contains(out, "nothing to do") {
			t.Error(out)
		}
	})
	runPhase(t, "reload and boot", func(t *testing.T) {
		h.Exec(t, "nft -f /etc/nftables.conf")
		wantOpen(t, h, false)
		if out := c.run(t, exitChanges, "plan", "--detailed-exitcode", plan); !strings.Contains(out, "+ nftables accept 7881/tcp, 50100-50200/udp") {
			t.Errorf("the plan does not open again what is closed:\n%s", out)
		}
		h.Exec(t, "systemctl reload nftables")
		wantOpen(t, h, true)
		h.Restart(t)
		wantOpen(t, h, true)
	})
	runPhase(t, "destroy", func(t *testing.T) {
		c.run(t, exitOK, "destroy", "--yes", plan)
		c.run(t, exitOK, "prune", "--yes", plan)
		after := h.Snapshot(t)
		for _, s := range []lab.Snapshot{before, after} { // the lab's own, which differ after each boot
			delete(s, "iptables nat DOCKER_OUTPUT")
			delete(s, "iptables nat DOCKER_POSTROUTING")
		}
		compareSnapshots(t, "destroy", before, after)
		wantOpen(t, h, false)
		h.Exec(t, "systemctl reload nftables")
		wantOpen(t, h, false)
	})
}

// wantOpen sends packets from here to the ends of the site's ports, and next to them.
func wantOpen(t *testing.T, h *lab.Host, want bool) {
	t.Helper()
	for port, want := range map[string]bool{"tcp 7881": want, "udp 50100": want, "udp 50200": want, "tcp 7882": false, "udp 50201": false, "tcp 22": true} {
		network, number, _ := strings.Cut(port, " ")
		got, err := letIn(network, net.JoinHostPort(h.IP, number))
		if err != nil || got != want {
			t.Errorf("%s of %s is let in: %v, want %v; %v", port, h.Name, got, want, err)
		}
	}
}

// letIn reports whether a host lets packets in: somebody answers, or the host itself
// that nobody listens. From a firewall that drops nothing comes back.
func letIn(network, address string) (bool, error) {
	const patience = 2 * time.Second
	conn, err := net.DialTimeout(network, address, patience)
	if err == nil {
		defer conn.Close()
		if network == "tcp" {
			return true, nil
		}
		err = errors.Join(conn.SetDeadline(time.Now().Add(patience)), writeThenRead(conn))
	}
	if err == nil || errors.Is(err, syscall.ECONNREFUSED) {
		return true, nil
	}
	if silent, ok := errors.AsType[net.Error](err); ok && silent.Timeout() {
		return false, nil
	}
	return false, fmt.Errorf("%s %s: %w", network, address, err)
}

// writeThenRead sends a datagram and waits for any answer.
func writeThenRead(conn net.Conn) error {
	if _, err := conn.Write([]byte("x")); err != nil {
		return err
	}
	_, err := conn.Read(make([]byte, 1))
	return err
}

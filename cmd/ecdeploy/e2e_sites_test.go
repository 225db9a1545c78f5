package main

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// Two sites on hosts of their own, at once: what fails on one does not touch
// the other, and the next run does only what is left.
func TestE2ETwoSites(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	hosts := lab.Up(t, lab.Full, "east", "west")
	east, west := hosts[0], hosts[1]
	c := newCLI(t)
	plan := planFile(t, httpText(t, "east", "west"))
	beforeEast := east.Snapshot(t)
	breaks, fixes := failingUnit("matrix-synapse.service", "ExecStartPre=", "/etc/matrix-synapse/homeserver.yaml")
	west.Exec(t, breaks)
	beforeWest := west.Snapshot(t)

	out := c.run(t, exitRolledBack, "apply", "--yes", plan)
	for _, want := range []string{"east.test  applied", "west.test  failed; every host is as before", "what was done to the other sites stays"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output has no %q:\n%s", want, out)
		}
	}
	compareSnapshots(t, "the site that failed", beforeWest, west.Snapshot(t))
	west.Exec(t, fixes)

	applied := east.Snapshot(t)
	out = c.run(t, exitOK, "apply", "--yes", plan)
	if !strings.Contains(out, "east.test  nothing to do") || !strings.Contains(out, "west.test  applied") {
		t.Errorf("the second run:\n%s", out)
	}
	compareSnapshots(t, "the site that was right", applied, east.Snapshot(t))
	if c.run(t, exitOK, "secrets", "show", "--limit", "east.test", plan) == c.run(t, exitOK, "secrets", "show", "--limit", "west.test", plan) {
		t.Error("two sites share their credentials")
	}
	c.run(t, exitOK, "rollback", "--yes", "--limit", "east", plan)
	compareSnapshots(t, "rollback of one site", beforeEast, east.Snapshot(t))
}

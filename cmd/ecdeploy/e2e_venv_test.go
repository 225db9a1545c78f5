package main

import (
	"path"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// A Synapse from PyPI is configured, checked and restarted as its own unit says, and
// given back as it was.
func TestE2EVenv(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Venv, "pypi")[0]
	c := newCLI(t)
	plan := planFile(t, lab.PlanText(t, "pypi"))
	// One run places a call; the others are about other things.
	quick := planFile(t, httpText(t, "pypi"), `unit = "synapse.service"`, "unit = \"synapse.service\"\n    start_timeout = \"20s\"")
	const config = "/etc/synapse/homeserver.yaml"
	before := h.Snapshot(t)

	runPhase(t, "its own checker refuses", func(t *testing.T) {
		h.Exec(t, "cp -p "+config+" /run/kept.yaml && sed -i 's/port: 8008/port: none/' "+config)
		broken := h.Snapshot(t)
		if out := c.run(t, exitError, "apply", "--yes", quick); !strings.Contains(out, "check Synapse") || !strings.Contains(out, "port") {
			t.Errorf("the output does not say what Synapse's checker says:\n%s", out)
		}
		compareSnapshots(t, "after a check that failed", broken, h.Snapshot(t))
		h.Exec(t, "cat /run/kept.yaml >"+config)
	})
	runPhase(t, "it does not start", func(t *testing.T) {
		breaks, fixes := failingUnit("synapse.service", "ExecStartPre=", config)
		h.Exec(t, breaks)
		broken := h.Snapshot(t)
		c.run(t, exitRolledBack, "apply", "--yes", quick)
		compareSnapshots(t, "after the rollback", broken, h.Snapshot(t))
		h.Exec(t, fixes)
		if got := h.Exec(t, "systemctl is-active synapse"); got != "active\n" {
			t.Errorf("Synapse is %s", got)
		}
	})
	runPhase(t, "apply", func(t *testing.T) {
		if out := c.run(t, exitOK, "apply", "--yes", plan); !strings.Contains(out, "media over UDP") {
			t.Errorf("no call was placed:\n%s", out)
		}
		if out := c.run(t, exitOK, "apply", "--yes", plan); !strings.Contains(out, "nothing to do") {
			t.Errorf("the second apply:\n%s", out)
		}
		if out := c.run(t, exitOK, "status", plan); !strings.Contains(out, "  Synapse 1.1") || !strings.Contains(out, "no drift") {
			t.Errorf("status:\n%s", out)
		}
	})
	runPhase(t, "other ways to start it", func(t *testing.T) { startedOtherwise(t, c, h, plan) })
	runPhase(t, "rollback", func(t *testing.T) {
		c.run(t, exitOK, "rollback", "--yes", plan)
		compareSnapshots(t, "after the rollback", before, h.Snapshot(t))
	})
	runPhase(t, "destroy", func(t *testing.T) {
		c.run(t, exitOK, "apply", "--yes", quick)
		c.run(t, exitOK, "destroy", "--yes", quick)
		c.run(t, exitOK, "prune", "--yes", quick)
		compareSnapshots(t, "after destroy and prune", before, h.Snapshot(t))
	})
}

// startedOtherwise wants the same of each unit that reads the same file, and a refusal
// where nobody knows what is read.
func startedOtherwise(t *testing.T, c *cli, h *lab.Host, plan string) {
	const dropIn = "/etc/systemd/system/synapse.service.d/how.conf"
	const files = `Environment=DIR=/etc/synapse\nEnvironmentFile=-/etc/default/synapse\n`
	const bin = "/opt/synapse/venv/bin/"
	for _, way := range []struct{ name, settings, start, says string }{
		{"a script of pip, variables", files, bin + "synapse_homeserver -c ${DIR}/${FILE}", "nothing to do"},
		{"relative to its folder", `WorkingDirectory=/etc/synapse\n`, bin + "python -m synapse.app.homeserver -c homeserver.yaml", "nothing to do"},
		{"a wrapper", "", "/usr/local/sbin/start-synapse", "starts /usr/local/sbin/start-synapse, which is not a program of Synapse's"},
	} {
		h.Exec(t, "mkdir -p "+path.Dir(dropIn)+" && echo FILE=homeserver.yaml >/etc/default/synapse && "+
			"printf '[Service]\\n"+way.settings+"ExecStart=\\nExecStart="+way.start+"\\n' >"+dropIn+" && systemctl daemon-reload")
		exit := exitError
		if way.says == "nothing to do" {
			exit = exitOK
			h.Exec(t, "systemctl restart synapse")
		}
		if out := c.run(t, exit, "plan", plan); !strings.Contains(out, way.says) {
			t.Errorf("%s: the plan does not say %q:\n%s", way.name, way.says, out)
		}
	}
	h.Exec(t, "rm -r /etc/systemd/system/synapse.service.d /etc/default/synapse && systemctl daemon-reload && systemctl restart synapse")
}

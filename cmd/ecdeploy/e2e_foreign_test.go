package main

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// A container of somebody else's that has the name of one of ours stays, stopped and
// under another name, through any number of runs, and is as before once the site is
// taken away.
func TestE2EForeignContainer(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Light, "guest")[0]
	c := newCLI(t)
	plan := lightPlan(t, h, `user = "root"`)
	more := planFile(t, lightText(t, h, `user = "root"`), "    node_ip", "    participants = 41\n    node_ip")
	// The images are there from now on.
	c.run(t, exitOK, "apply", "--yes", plan)
	c.run(t, exitOK, "destroy", "--yes", plan)
	c.run(t, exitOK, "prune", "--yes", plan)
	image := lab.Env(t, "LIVEKIT_IMAGE")

	for name, make := range map[string]string{
		"running":         "docker run -d --name livekit-sfu --network none " + image + " --dev --node-ip 127.0.0.1",
		"running, always": "docker run -d --restart always --name livekit-sfu --network none " + image + " --dev --node-ip 127.0.0.1",
		"paused":          "docker run -d --restart on-failure:3 --name livekit-sfu --network none " + image + " --dev --node-ip 127.0.0.1 && docker pause livekit-sfu",
		"created":         "docker create --name livekit-sfu --network none " + image + " --dev --node-ip 127.0.0.1",
	} {
		runPhase(t, name, func(t *testing.T) {
			h.Exec(t, make)
			before := h.Snapshot(t)
			if out := c.run(t, exitOK, "apply", "--yes", plan); !strings.Contains(out, "it is stopped and set aside until `ecdeploy destroy` brings it back") {
				t.Errorf("the plan does not say what becomes of it:\n%s", out)
			}
			c.run(t, exitOK, "rollback", "--yes", plan)
			compareSnapshots(t, "rollback", before, h.Snapshot(t))
			c.run(t, exitOK, "apply", "--yes", plan)
			c.run(t, exitOK, "apply", "--yes", more)
			c.run(t, exitOK, "prune", "--yes", plan)
			deployed := h.Snapshot(t)
			if out := c.run(t, exitOK, "destroy", "--yes", plan); !strings.Contains(out, "container livekit-sfu from before ecdeploy comes back") {
				t.Errorf("the plan does not say that it comes back:\n%s", out)
			}
			compareSnapshots(t, "destroy", before, notAside(h.Snapshot(t)))
			c.run(t, exitOK, "rollback", "--yes", plan)
			compareSnapshots(t, "rollback of the destroy", deployed, h.Snapshot(t))
			c.run(t, exitOK, "destroy", "--yes", plan)
			c.run(t, exitOK, "prune", "--yes", plan)
			compareSnapshots(t, "the second destroy", before, h.Snapshot(t))
			h.Exec(t, "docker rm -f livekit-sfu")
		})
	}
	runPhase(t, "or is removed by name", func(t *testing.T) {
		h.Exec(t, "docker create --name livekit-sfu --network none "+image+" --dev --node-ip 127.0.0.1")
		c.run(t, exitOK, "apply", "--yes", plan)
		c.run(t, exitOK, "prune", "--yes", "--foreign", "livekit-sfu", plan)
		if left := h.Exec(t, "docker ps -aq --filter name=livekit-sfu.ecdeploy"); left != "" {
			t.Errorf("it is still there: %s", left)
		}
		c.run(t, exitOK, "destroy", "--yes", plan)
		if left := h.Exec(t, "docker ps -aq --filter name=^/livekit-sfu$"); left != "" {
			t.Errorf("something came back: %s", left)
		}
	})
}

// notAside is a snapshot without the containers that a run has set aside, which stay
// until they are pruned.
func notAside(s lab.Snapshot) lab.Snapshot {
	out := lab.Snapshot{}
	for k, v := range s {
		if !strings.Contains(k, ".ecdeploy-") {
			out[k] = v
		}
	}
	return out
}

package main

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

// revertAfter is what the hosts of these tests wait to hear from the laptop.
const revertAfter = 3 * time.Second

// A host rolls back when nobody connects any more: by itself, or by the hand of an
// admin.
func TestE2EAlone(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Light, "alone")[0]
	c := newCLI(t)
	plan := planFile(t,
		lightText(t, h, `user = "root"`), `verify { level = "none" }`,
		"verify { level = \"none\" }\n  revert_after = \""+revertAfter.String()+"\"")
	// The image is kept on a rollback; ufw rewrites its files with the first rule.
	c.run(t, exitOK, "apply", "--yes", plan)
	c.run(t, exitOK, "destroy", "--yes", plan)
	c.run(t, exitOK, "prune", "--yes", plan)
	before := h.Snapshot(t)

	runPhase(t, "the laptop is gone", func(t *testing.T) {
		c.cutOff(t, "container element-call-jwt", "apply", "--yes", plan)
		began := time.Now()
		awaitRollback(t, h, 1)
		if took := time.Since(began); took > revertAfter+30*time.Second {
			t.Errorf("it took %s", took)
		}
		compareSnapshots(t, "after the revert", before, h.Snapshot(t))
		out := c.run(t, exitOK, "audit", plan)
		if !strings.Contains(out, "by the host itself, or somebody at it") {
			t.Errorf("the log does not say who rolled it back:\n%s", out)
		}
	})
	runPhase(t, "by hand", func(t *testing.T) {
		c.cutOff(t, "container element-call-jwt", "apply", "--yes", "--no-revert", plan)
		if got := h.Exec(t,
			"ls /var/lib/ecdeploy/runs/*/armed; docker ps --format '{{.Names}}'"); !strings.Contains(got, "/armed") || !strings.Contains(got, "livekit-sfu") {
			t.Fatalf("nothing was interrupted half-way:\n%s", got)
		}
		h.Exec(t, `sh "$(dirname /var/lib/ecdeploy/runs/*/armed)/rollback.sh"`)
		compareSnapshots(t, "after rollback.sh", before, h.Snapshot(t))
	})
	runPhase(t, "locked out", func(t *testing.T) { lockOutSSH(t, h, c.known, before) })
	runPhase(t, "and then it succeeds", func(t *testing.T) {
		c.run(t, exitOK, "apply", "--yes", plan)
		c.run(t, exitOK, "status", plan)
	})
}

// awaitRollback waits until the host has rolled back what was interrupted, the nth run here.
func awaitRollback(t *testing.T, h *lab.Host, nth int) {
	t.Helper()
	h.Exec(t,
		fmt.Sprintf(`for i in $(seq 600); do [ "$(find /var/lib/ecdeploy/runs -name reverted | wc -l)" -lt %d ] || exit 0; sleep 0.1; done; ls /var/lib/ecdeploy/runs/*; exit 1`,
			nth))
}

// lockOutSSH applies a change that closes the host's port 22, to those who are
// connected, too.
func lockOutSSH(t *testing.T, h *lab.Host, known string, before lab.Snapshot) {
	d, err := host.NewDialer(host.Options{KnownHosts: []string{known}})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	m, err := d.Dial(t.Context(), host.Target{Name: h.Name, Address: h.IP, User: "root", Identity: lab.Env(t, "KEY"), Become: host.BecomeNone})
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	closes := &steps.Exec{Verb: "+", Title: "a rule that closes port 22",
		DoText:   "iptables -I INPUT -p tcp --dport 22 -j DROP",
		UndoText: "! iptables -C INPUT -p tcp --dport 22 -j DROP 2>/dev/null || iptables -D INPUT -p tcp --dport 22 -j DROP"}
	plan := plans.SitePlan{
		Site:  "alone.test",
		Hosts: []plans.HostPlan{{Host: h.Name, Steps: []plans.StepPlan{{Stage: steps.StageHost, Step: "test", Changes: plans.Changes{closes}}}}},
	}
	// A laptop gives up long before its own time-outs do: nobody waits for it here.
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ended := make(chan error, 1)
	go func() {
		ended <- engine.Run{
			ID: engine.NewRunID(time.Now()), Version: "test", Hosts: map[string]host.Host{h.Name: m}, Emit: func(engine.Event) {}, RevertAfter: revertAfter,
			NewSecrets: plans.NewSecrets,
			Replan:     func(context.Context) (plans.SitePlan, error) { return plan, nil },
		}.Apply(ctx, plan)
	}()
	h.Exec(t, `for i in $(seq 300); do iptables -C INPUT -p tcp --dport 22 -j DROP 2>/dev/null && exit 0; sleep 0.1; done; exit 1`)
	awaitRollback(t, h, 3)
	if err := <-ended; err == nil {
		t.Error("the run says that all went well")
	}
	compareSnapshots(t, "after the revert", before, h.Snapshot(t))
}

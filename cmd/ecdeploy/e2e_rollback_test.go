package main

import (
	"bufio"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
	"github.com/emdecloud/ecdeploy/internal/hosttest/relay"
)

// fault breaks something on the host from outside, at one stage of a run.
type fault struct {
	name    string
	breaks  string // sh on the host
	fixes   string
	replace []string // in the plan file
	exit    int
	says    string // part of the output
}

// A unit that fails once its service's configuration holds what a run writes.
func failingUnit(unit, command, files string) (breaks, fixes string) {
	dir := "/etc/systemd/system/" + unit + ".d"
	return "mkdir -p " + dir + " && printf '[Service]\\n" + command + "/bin/sh -c \"! grep -qs ecdeploy-fault -- " + files + " && ! grep -qs matrix-rtc -- " + files + "\"\\n' >" + dir + "/fault.conf && systemctl daemon-reload",
		"rm -r " + dir + " && systemctl daemon-reload && systemctl reset-failed"
}

// breakOff runs ecdeploy and disturbs it while Synapse restarts: the host must
// be as before.
func (c *cli) breakOff(t *testing.T, h *lab.Host, args []string, disturb func(*os.Process)) {
	t.Helper()
	before := h.Snapshot(t)
	cmd := c.command(c.bin, args...)
	pipe, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	var out, errs strings.Builder
	cmd.Stderr = &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	for lines := bufio.NewScanner(pipe); lines.Scan(); {
		fmt.Fprintln(&out, lines.Text())
		if strings.HasSuffix(lines.Text(), "] Synapse") { // it begins
			time.Sleep(time.Second)
			disturb(cmd.Process)
		}
	}
	_ = cmd.Wait() // the exit code says it
	out.WriteString(errs.String())
	c.all.WriteString(out.String())
	t.Logf("it said:\n%s", &errs)
	if got := cmd.ProcessState.ExitCode(); got != exitRolledBack {
		t.Errorf("exit code %d, want %d\n%s", got, exitRolledBack, &out)
	}
	compareSnapshots(t, t.Name(), before, h.Snapshot(t))
}

// Each stage of a first deploy fails in turn, and the host must be as before.
func TestE2ERollback(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Full, "fail")[0]
	c := newCLI(t)
	text := httpText(t, "fail")
	synapseBreaks, synapseMends := failingUnit("matrix-synapse.service", "ExecStartPre=", "/etc/matrix-synapse/homeserver.yaml")
	nginxBreaks, nginxMends := failingUnit("nginx.service", "ExecReload=\\nExecReload=", "/etc/nginx/*/*ecdeploy*")
	faults := []fault{
		{name: "image missing", replace: []string{"archive = \"" + lab.Env(t, "LIVEKIT_ARCHIVE") + "\"", "# no archive", "livekit-server:v1.13.5", "livekit-server:v0.0.1-none"}, exit: exitError, says: "v0.0.1-none"},
		{name: "LiveKit refuses its configuration", replace: []string{"archive = \"" + lab.Env(t, "LIVEKIT_ARCHIVE") + "\"", "archive = \"" + lab.Env(t, "JWT_ARCHIVE") + "\"", "livekit/livekit-server:v1.13.5", "ecdeploy-lab/no-livekit:1"}, exit: exitError, says: "check container livekit-sfu"},
		{name: "ufw fails", breaks: "dpkg-divert --quiet --local --rename --add /usr/sbin/ufw && printf '#!/bin/sh\\ncase \"$*\" in *50100*--*|allow*50100*) echo broken >&2; exit 1;; esac\\nexec /usr/sbin/ufw.distrib \"$@\"\\n' >/usr/sbin/ufw && chmod 755 /usr/sbin/ufw",
			fixes: "rm /usr/sbin/ufw && dpkg-divert --quiet --local --rename --remove /usr/sbin/ufw", exit: exitRolledBack, says: "broken"},
		{name: "nginx -t fails", breaks: "echo 'nonsense on;' >/etc/nginx/conf.d/zz-fault.conf", fixes: "rm /etc/nginx/conf.d/zz-fault.conf", exit: exitError, says: "nonsense"},
		{name: "nginx does not reload", breaks: nginxBreaks, fixes: nginxMends, exit: exitRolledBack, says: "nginx"},
		{name: "Synapse does not start", breaks: synapseBreaks, fixes: synapseMends, exit: exitRolledBack, says: "Synapse",
			replace: []string{`synapse "debian" { host = host.fail }`, "synapse \"debian\" {\n    host = host.fail\n    start_timeout = \"20s\"\n  }"}},
		{name: "a health check times out", breaks: "sed -i.fault '/Access-Control-Allow-Origin/d' /etc/nginx/sites-available/* && systemctl reload nginx",
			fixes: "for f in /etc/nginx/sites-available/*.fault; do mv $f ${f%.fault}; done; systemctl reload nginx", exit: exitRolledBack, says: "Access-Control-Allow-Origin"},
	}
	for _, f := range faults {
		runPhase(t, f.name, func(t *testing.T) {
			if f.breaks != "" {
				h.Exec(t, f.breaks)
			}
			before := h.Snapshot(t)
			out := c.run(t, f.exit, "apply", "--yes", planFile(t, text, f.replace...))
			if !strings.Contains(out, f.says) {
				t.Errorf("the output does not say %q:\n%s", f.says, out)
			}
			compareSnapshots(t, f.name, before, h.Snapshot(t))
			if got := h.Exec(t, "systemctl is-active nginx matrix-synapse docker ufw"); strings.Contains(got, "failed") {
				t.Errorf("a service does not run:\n%s", got)
			}
			if f.fixes != "" {
				h.Exec(t, f.fixes)
			}
		})
	}
	runPhase(t, "interrupted", func(t *testing.T) {
		line := relay.Listen(t, h.IP+":22", 0)
		c.breakOff(t, h, c.overRelay(t, line, h, text, "apply", "--yes"), func(p *os.Process) { p.Signal(os.Interrupt) })
	})
	runPhase(t, "the connection drops", func(t *testing.T) {
		line := relay.Listen(t, h.IP+":22", 0)
		c.breakOff(t, h, c.overRelay(t, line, h, text, "apply", "--yes"), func(*os.Process) { line.Cut() })
	})
	runPhase(t, "and then it succeeds", func(t *testing.T) {
		before := h.Snapshot(t)
		plan := planFile(t, text)
		c.run(t, exitOK, "apply", "--yes", plan)
		c.run(t, exitOK, "rollback", "--yes", plan)
		compareSnapshots(t, "rollback of a finished run", before, h.Snapshot(t))
	})
}

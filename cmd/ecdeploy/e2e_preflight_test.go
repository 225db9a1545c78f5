package main

import (
	"bufio"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// All that is wrong with a real host is said at once, with a way out, and
// nothing is touched.
func TestE2EPreflight(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Light, "doctor")[0]
	c := newCLI(t)
	plan := planFile(t, fmt.Sprintf(`host "doctor" {
  address  = %q
  user     = "deploy"
  identity = %q
}
site "doctor.test" {
  sfu {
    host    = host.doctor
    url     = "https://matrix-rtc-sfu.nowhere.test"
    node_ip = %q
  }
  auth {
    host = host.doctor
    url  = "https://matrix-rtc-jwt.doctor.test"
  }
  synapse "debian" { host = host.doctor }
  proxy "nginx" { host = host.doctor }
  well_known "external" {}
}
`, h.IP, lab.Env(t, "KEY"), h.IP))
	for _, sh := range []string{
		// coturn, as far as preflight looks at it: its process and its file.
		"cp /usr/bin/sleep /usr/local/bin/turnserver && printf 'listening-port=3478\nmin-port=50000\nmax-port=50150\n' >/etc/turnserver.conf && (setsid turnserver 3600 >/dev/null 2>&1 &)",
		"(setsid busybox httpd -f -h /run -p 127.0.0.1:8080 >/dev/null 2>&1 &)",
		"printf '#!/bin/sh\n[ \"$*\" = +%%s ] || exec /usr/bin/date \"$@\"\necho $(($(/usr/bin/date +%%s) + 3620))\n' >/usr/local/sbin/date && chmod 755 /usr/local/sbin/date",
		"echo 'Defaults log_input' >/etc/sudoers.d/zz-doctor",
		"mkdir -p /matrix/synapse /var/lib/rancher/k3s",
	} {
		h.Exec(t, sh)
	}
	before := h.Snapshot(t)
	out := c.run(t, exitError, "apply", "--yes", plan)
	for _, want := range []string{
		"coturn on doctor relays on 50000-50150/udp, which overlaps with 50100-50200", "set min-port and max-port in /etc/turnserver.conf",
		"port 8080/tcp on doctor is taken by busybox",
		"the clocks of doctor and of this machine differ by 1h0m", "timedatectl set-ntp true",
		"doctor: sudo records what is sent to it (log_input)",
		"no certificate for matrix-rtc-sfu.nowhere.test on doctor", "certbot certonly --nginx -d matrix-rtc-sfu.nowhere.test",
		"matrix-rtc-sfu.nowhere.test does not resolve on doctor",
		"Synapse on doctor belongs to matrix-docker-ansible-deploy (/matrix/synapse), a Kubernetes cluster as for ess-helm (/var/lib/rancher/k3s)", `synapse "external"`,
		"matrix-docker-ansible-deploy (/matrix/synapse) is on doctor: it would overwrite edits of nginx", `proxy "external"`,
	} {
		if !strings.Contains(out, want) {
			t.Errorf("the plan does not say %q", want)
		}
	}
	if t.Failed() {
		t.Log(out)
	}
	compareSnapshots(t, "a plan that is blocked", before, h.Snapshot(t))
}

// What probes find is the same where nothing can be written, temporary files
// included: they only look. The locks of others lie in /run.
func TestE2EProbesWriteNothing(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Light, "still")[0]
	c := newCLI(t)
	text := readAll(t, lightPlan(t, h, `user = "root"`))
	live := "/etc/letsencrypt/live/" + h.Domain
	plan := planFile(t, text, `proxy "external" {}`, fmt.Sprintf("proxy \"nginx\" {\n    host = host.still\n    certificate = \"%s/fullchain.pem\"\n    key = \"%s/privkey.pem\"\n  }", live, live))
	frozen := planFile(t, readAll(t, plan), `user = "root"`, "user = \"root\"\n  port = 2222")
	h.Exec(t, `ufw allow 2222/tcp >/dev/null && unshare -m sh -c '
for d in /bin /boot /etc /home /opt /root /srv /tmp /usr /var; do
	[ ! -d $d ] || [ -L $d ] || { mount --rbind $d $d && mount -o remount,bind,ro $d; } || exit 1
done
! touch /tmp/x /etc/x /var/lib/x 2>/dev/null && exec /usr/sbin/sshd -o Port=2222 -o PidFile=none'`)
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte("Host "+h.IP+"\n  HostKeyAlias "+h.IP+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	findings := func(out string) string { return out[strings.Index(out, "site still.test"):] }
	want := findings(c.run(t, exitOK, "plan", plan))
	got := findings(c.run(t, exitOK, "plan", "--ssh-config", config, frozen))
	if d := lab.LineDiff(t, want, got); len(d) > 0 || !strings.Contains(want, "+ nginx") || !strings.Contains(want, "+ ufw allow") {
		t.Errorf("the plan differs where nothing can be written:\n%s\nit was\n%s", strings.Join(d, "\n"), want)
	}
}

func readAll(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// What keeps sudo from making root is told apart, on a real sudo.
func TestE2ESudoers(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Light, "sudoers")[0]
	c := newCLI(t)
	password := fmt.Sprintf("sudo_password { file = %q }", lab.Env(t, "DEPLOYPW"))
	for _, f := range []struct{ name, sudoers, user, more, says, hint string }{
		{"a terminal", "Defaults requiretty\nALL ALL=(ALL) NOPASSWD: ALL", "deploy", "", "sudo on the host wants a terminal (requiretty)", "Defaults:deploy !requiretty"},
		{"some commands", "deploy ALL=(root) NOPASSWD: /usr/bin/apt", "deploy", "", "sudoers allows deploy only some commands without a password; ecdeploy needs `sh` as root: (root) NOPASSWD: /usr/bin/apt", "NOPASSWD: ALL"},
		{"some commands, with a password", "deploypw ALL=(root) /usr/bin/apt", "deploypw", password, "sudoers allows deploypw only some commands; ecdeploy needs `sh` as root", ""},
		{"a password", "deploy ALL=(root) ALL", "deploy", "", "sudo wants a password of deploy\n", "sudo_password { ask = true }"},
		{"no rule", "root ALL=(ALL) ALL", "deploypw", password, "deploypw may not use sudo", ""},
	} {
		t.Run(f.name, func(t *testing.T) {
			h.Exec(t, "printf '%s\n' '"+f.sudoers+"' >/etc/sudoers && rm -f /etc/sudoers.d/* && visudo -cq")
			out := c.run(t, exitError, "plan", lightPlan(t, h, fmt.Sprintf("user = %q\n  %s", f.user, f.more)))
			if !strings.Contains(out, f.says) || !strings.Contains(out, f.hint) {
				t.Errorf("it says\n%s\nwant %q, hint %q", out, f.says, f.hint)
			}
		})
	}
}

// A second Ctrl-C ends ecdeploy at once: it says what it leaves and how that is
// rolled back, and it is.
func TestE2ESecondInterrupt(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Light, "twice")[0]
	c := newCLI(t)
	plan := lightPlan(t, h, `user = "root"`)
	before := h.Snapshot(t)
	cmd := c.command(c.bin, "apply", "--yes", plan)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	errs, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	said := make(chan string, 1)
	go func() {
		var all strings.Builder
		for lines := bufio.NewScanner(errs); lines.Scan(); {
			fmt.Fprintln(&all, lines.Text())
			if strings.HasPrefix(lines.Text(), "interrupted: ") {
				cmd.Process.Signal(os.Interrupt)
			}
		}
		said <- all.String()
	}()
	for lines := bufio.NewScanner(out); lines.Scan(); {
		if strings.HasSuffix(lines.Text(), "] container livekit-sfu") { // it begins
			cmd.Process.Signal(os.Interrupt)
		}
	}
	text := <-said
	_ = cmd.Wait() // the exit code says it
	if got := cmd.ProcessState.ExitCode(); got != exitInDoubt {
		t.Errorf("exit code %d, want %d", got, exitInDoubt)
	}
	for _, want := range []string{"a second Ctrl-C leaves hosts half-way", "ecdeploy rollback FILE", "sudo sh /var/lib/ecdeploy/runs/RUN/rollback.sh"} {
		if !strings.Contains(text, want) {
			t.Errorf("it does not say %q:\n%s", want, text)
		}
	}
	// The host may have finished alone what was under way there.
	back := c.command(c.bin, "rollback", "--yes", "--force", plan)
	if out, err := back.CombinedOutput(); err != nil && !strings.Contains(string(out), "there is no run to roll back") {
		t.Errorf("rollback: %v\n%s", err, out)
	}
	compareSnapshots(t, "after the rollback", before, h.Snapshot(t))
}

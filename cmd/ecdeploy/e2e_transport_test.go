package main

import (
	"bufio"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
	"github.com/emdecloud/ecdeploy/internal/hosttest/relay"
)

// maxRoundTrips is the budget of a run that has nothing to do, from the end of
// authentication as root to the end of the program.
const maxRoundTrips = 6

// roundTrips counts them in an apply that has nothing to do: how much longer it
// takes over a slow line, in multiples of that line's round trip. That is so
// long that what else the machine does is lost in it.
func roundTrips(t *testing.T, c *cli, h *lab.Host, text string) {
	t.Helper()
	took := func(oneWay time.Duration) time.Duration {
		line := relay.Listen(t, h.IP+":22", oneWay)
		cmd := c.command(c.bin, c.overRelay(t, line, h, text, "apply", "-v", "--yes")...)
		pipe, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		var out strings.Builder
		cmd.Stdout = &out
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		var in time.Time
		for lines := bufio.NewScanner(pipe); lines.Scan(); {
			if strings.Contains(lines.Text(), "logged in") {
				in = time.Now()
			}
		}
		if err := cmd.Wait(); err != nil || !strings.Contains(out.String(), "nothing to do") || in.IsZero() {
			t.Fatalf("apply over the relay: %v, logged in: %v\n%s", err, !in.IsZero(), &out)
		}
		return time.Since(in)
	}
	const oneWay = 1500 * time.Millisecond
	near, far := took(0), took(oneWay)
	trips := float64(far-near) / float64(2*oneWay)
	t.Logf("%.2f round trips after authentication (%v, %v over the slow line)", trips, near, far)
	if math.Round(trips) > maxRoundTrips {
		t.Errorf("%.1f round trips, at most %d are allowed", trips, maxRoundTrips)
	}
}

// overRelay are the arguments of a run that reaches its one host over a relay.
func (c *cli) overRelay(t *testing.T, line *relay.Relay, h *lab.Host, text string, args ...string) []string {
	t.Helper()
	config := filepath.Join(t.TempDir(), "config")
	if err := os.WriteFile(config, []byte("Host 127.0.0.1\n  HostKeyAlias "+h.IP+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	plan := planFile(t, text, `address  = "`+h.IP+`"`, fmt.Sprintf("address = \"127.0.0.1\"\n  port = %d\n  connect_timeout = \"2m\"", line.Port))
	return append(args, "--ssh-config", config, plan)
}

// A host where only sudo makes root, with and without a password, on Debian's
// stable release.
func TestE2ESudo(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Light, "sudo")[0]
	const given = "GivenByTheEnvironment0123456789abcdefghijklmnop"
	c := newCLI(t, "ECDEPLOY_TEST_SECRET="+given)
	plan := func(user, password string) string { return planFile(t, sudoPlan(t, h, user, password)) }
	withPassword := plan("deploypw", fmt.Sprintf("sudo_password { file = %q }", lab.Env(t, "DEPLOYPW")))
	before := h.Snapshot(t)

	wrong := filepath.Join(t.TempDir(), "wrong")
	if err := os.WriteFile(wrong, []byte("not the password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if out := c.run(t,
		exitError, "apply", "--yes",
		plan("deploypw", fmt.Sprintf("sudo_password { file = %q }", wrong))); !strings.Contains(out, "sudo does not take the password") {
		t.Error(out)
	}
	if out := c.run(t, exitError, "apply", "--yes", plan("deploypw", "")); !strings.Contains(out, "sudo_password") {
		t.Error(out)
	}
	compareSnapshots(t, "no root", before, h.Snapshot(t))

	c.run(t, exitOK, "apply", "--yes", withPassword)
	if got := h.Exec(t, "docker inspect -f '{{.State.Running}}' livekit-sfu element-call-jwt"); got != "true\ntrue\n" {
		t.Errorf("containers run: %q", got)
	}
	if out := c.run(t, exitOK, "apply", "--yes", plan("deploy", "")); !strings.Contains(out, "nothing to do") {
		t.Error(out)
	}
	if got := h.Exec(t, "cat /etc/ecdeploy/sudo.test/sfu/keys.yaml /etc/ecdeploy/sudo.test/auth/secret"); strings.Count(got, given) != 2 {
		t.Error("the secret that the plan file names is not on the host")
	}
	if strings.Contains(c.all.String(), given) {
		t.Error("the secret that the plan file names is in the output")
	}
	secret, err := os.ReadFile(lab.Env(t, "DEPLOYPW"))
	if err != nil {
		t.Fatal(err)
	}
	if strings.Contains(c.all.String(), strings.TrimSpace(string(secret))) {
		t.Error("the sudo password is in the output")
	}
	c.run(t, exitOK, "rollback", "--yes", withPassword)
	compareSnapshots(t, "rollback", before, h.Snapshot(t))
}

// sudoPlan is a plan file for a light host, on which everything but the two
// containers is somebody else's, by way of a user with sudo.
func sudoPlan(t *testing.T, h *lab.Host, user, password string) string {
	t.Helper()
	return fmt.Sprintf(`host "sudo" {
  address  = %q
  user     = %q
  identity = %q
  become   = "sudo"
  %s
}
site %q {
  sfu {
    host    = host.sudo
    url     = "https://matrix-rtc-sfu.%s"
    image   = %q
    archive = %q
    node_ip = %q
  }
  auth {
    host    = host.sudo
    url     = "https://matrix-rtc-jwt.%s"
    image   = %q
    archive = %q
  }
  synapse "external" { url = "https://matrix.%s" }
  proxy "external" {}
  well_known "external" {}
  livekit_keys {
    key    = "TheKeyOfThisTest"
    secret = env("ECDEPLOY_TEST_SECRET")
  }
  verify { level = "none" }
}
`,
		h.IP, user, lab.Env(t, "KEY"), password, h.Domain, h.Domain, lab.Env(t, "LIVEKIT_IMAGE"),
		lab.Env(t, "LIVEKIT_ARCHIVE"), h.IP, h.Domain, lab.Env(t, "JWT_IMAGE"),
		lab.Env(t, "JWT_ARCHIVE"), h.Domain)
}

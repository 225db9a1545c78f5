package main

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// The tests whose names begin with TestE2E run the real binary against real
// lab hosts. scripts/test runs them with ECDEPLOY_E2E=1.

// They run next to each other, each on hosts of its own, and never change the
// environment of this process. A test whose parts build on each other is a list
// of phases.

// binary builds ecdeploy once per test run, in binaryDir.
var binary = sync.OnceValues(func() (string, error) {
	dir, err := binaryDir()
	if err != nil {
		return "", err
	}
	bin := filepath.Join(dir, "ecdeploy")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		return "", fmt.Errorf("build: %w\n%s", err, out)
	}
	return bin, nil
})

var binaryDir = sync.OnceValues(func() (string, error) { return os.MkdirTemp("", "ecdeploy-e2e") })

// runPhase is a part of a test that those after it build on: the test ends where it
// fails.
func runPhase(t *testing.T, name string, do func(t *testing.T)) {
	t.Helper()
	if !t.Run(name, do) {
		t.FailNow()
	}
}

// cli runs ecdeploy against lab hosts and keeps all that it ever printed, for
// the search for leaks.
type cli struct {
	bin   string
	known string
	env   []string // KEY=VALUE, besides what this process has
	all   bytes.Buffer
}

// newCLI runs ecdeploy with these variables (KEY=VALUE), too.
func newCLI(t *testing.T, env ...string) *cli {
	t.Helper()
	bin, err := binary()
	if err != nil {
		t.Fatal(err)
	}
	// What is remembered of a host is not of the next one at its address.
	env = append(env, "XDG_STATE_HOME="+t.TempDir())
	return &cli{bin: bin, known: lab.Env(t, "KNOWN_HOSTS"), env: env}
}

// command is ecdeploy, or another program that becomes it, to be started.
func (c *cli) command(name string, args ...string) *exec.Cmd {
	return c.inEnv(exec.Command(name, append(args, "--known-hosts", c.known)...))
}

func (c *cli) inEnv(cmd *exec.Cmd) *exec.Cmd {
	cmd.Env = append(os.Environ(), c.env...)
	return cmd
}

// run returns what ecdeploy printed and fails the test if it exits otherwise
// than with want.
func (c *cli) run(t *testing.T, want int, args ...string) string {
	t.Helper()
	return c.wait(t, c.command(c.bin, args...), want)
}

// laptop is run on a machine of its own, which reaches the hosts as a client does
// and knows their names.
func (c *cli) laptop(t *testing.T, want int, args ...string) string {
	t.Helper()
	return c.wait(t, c.onLaptop(t, args...), want)
}

// onLaptop is what laptop runs, to be started.
func (c *cli) onLaptop(t *testing.T, args ...string) *exec.Cmd {
	t.Helper()
	return c.inEnv(lab.Laptop(t, c.bin, append(args, "--known-hosts", c.known)...))
}

func (c *cli) wait(t *testing.T, cmd *exec.Cmd, want int) string {
	t.Helper()
	args := cmd.Args[1:]
	out, err := cmd.CombinedOutput()
	c.all.Write(out)
	if got := cmd.ProcessState.ExitCode(); got != want {
		t.Fatalf("ecdeploy %s: exit code %d (%v), want %d\n%s", strings.Join(args, " "), got, err, want, out)
	}
	return string(out)
}

// planFile writes a plan file with replacements (old, new, old, new, ...), each
// of which must be found.
func planFile(t *testing.T, text string, replace ...string) string {
	t.Helper()
	for i := 0; i < len(replace); i += 2 {
		if !strings.Contains(text, replace[i]) {
			t.Fatalf("the plan file has no %q:\n%s", replace[i], text)
		}
		text = strings.ReplaceAll(text, replace[i], replace[i+1])
	}
	path := filepath.Join(t.TempDir(), "hosts.hcl")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// httpText is a plan file for tests that are not about calls: a run holds none.
func httpText(t *testing.T, hosts ...string) string {
	t.Helper()
	return strings.ReplaceAll(lab.PlanText(t, hosts...), "verify {", "verify {\n    level = \"http\"")
}

// lightText is a plan file for a host without Synapse: two containers, and all else
// somebody else's. how is its login.
func lightText(t *testing.T, h *lab.Host, how string) string {
	t.Helper()
	return fmt.Sprintf(`host %[1]q {
  address  = %[2]q
  identity = %[3]q
  %[4]s
}
site "%[1]s.test" {
  sfu {
    host    = host.%[1]s
    url     = "https://matrix-rtc-sfu.%[1]s.test"
    image   = %[5]q
    archive = %[6]q
    node_ip = %[2]q
  }
  auth {
    host    = host.%[1]s
    url     = "https://matrix-rtc-jwt.%[1]s.test"
    image   = %[7]q
    archive = %[8]q
  }
  synapse "external" { url = "https://matrix.%[1]s.test" }
  proxy "external" {}
  well_known "external" {}
  verify { level = "none" }
}
`, h.Name, h.IP, lab.Env(t, "KEY"), how, lab.Env(t, "LIVEKIT_IMAGE"), lab.Env(t, "LIVEKIT_ARCHIVE"), lab.Env(t, "JWT_IMAGE"), lab.Env(t, "JWT_ARCHIVE"))
}

// lightPlan is lightText in a file.
func lightPlan(t *testing.T, h *lab.Host, how string) string {
	t.Helper()
	return planFile(t, lightText(t, h, how))
}

// compareSnapshots fails the test where two snapshots of a host differ.
func compareSnapshots(t *testing.T, what string, a, b lab.Snapshot) {
	t.Helper()
	if diff := lab.Diff(a, b); diff != "" {
		t.Errorf("%s: the host differs:\n%s", what, diff)
	}
}

package main

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// The tests whose names begin with TestE2E run the real binary against real
// lab hosts. scripts/test runs them with ECDEPLOY_E2E=1.

// binary builds ecdeploy once per test run.
func binary(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	bin := filepath.Join(dir, "ecdeploy")
	if out, err := exec.Command("go", "build", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	return bin
}

// cli runs ecdeploy against lab hosts and keeps all that it ever printed, for
// the search for leaks.
type cli struct {
	bin   string
	known string
	all   bytes.Buffer
}

func newCLI(t *testing.T) *cli {
	t.Helper()
	t.Setenv("XDG_STATE_HOME", t.TempDir()) // the next host at an address is another one
	return &cli{bin: binary(t), known: lab.Env(t, "KNOWN_HOSTS")}
}

// run returns what ecdeploy printed and fails the test if it exits otherwise
// than with want.
func (c *cli) run(t *testing.T, want int, args ...string) string {
	t.Helper()
	cmd := exec.Command(c.bin, append(args, "--known-hosts", c.known)...)
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

// same fails the test where two snapshots of a host differ.
func same(t *testing.T, what string, a, b lab.Snapshot) {
	t.Helper()
	if diff := lab.Diff(a, b); diff != "" {
		t.Errorf("%s: the host differs:\n%s", what, diff)
	}
}

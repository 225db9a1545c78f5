// Package lab is what end-to-end tests know of the hosts of scripts/lab: it
// starts them, runs commands on them past SSH, and tells whether two moments of
// a host are alike. How hosts are made is the script's business; this package
// only calls it.
package lab

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
)

// Kind is which hosts Up starts, as options of `scripts/lab up`.
type Kind string

const (
	// Full is a host with Synapse.
	Full Kind = ""
	// Light is a host without Synapse.
	Light Kind = "--light"
	// Caddy is a full host with Caddy instead of nginx. It and the two that follow
	// can be joined by a space.
	Caddy Kind = "--proxy caddy"
	// Nftables is a full host whose firewall is an nftables.conf of its admin, without ufw.
	Nftables Kind = "--firewall nftables"
	// Venv is a full host whose Synapse is from PyPI, in /opt/synapse/venv as synapse.service.
	Venv Kind = "--synapse venv"
)

// SFUFor is a light host that carries the SFU of a full host's site. It has to
// be started before that host.
func SFUFor(host string) Kind { return Light + Kind(" --sfu-for "+host) }

// Host is one host of the lab that is up.
type Host struct {
	Name   string
	IP     string
	Domain string // of the host's site and certificate
}

// Require skips a test of real hosts unless ECDEPLOY_E2E=1 asks for it.
func Require(t testing.TB) {
	t.Helper()
	if os.Getenv("ECDEPLOY_E2E") != "1" {
		t.Skip("needs lab hosts: scripts/test, or scripts/lab setup and ECDEPLOY_E2E=1")
	}
}

// Up starts new hosts, whatever of their names was there before, and removes
// them when the test ends. ECDEPLOY_LAB_KEEP=1 leaves them for a look at what
// went wrong.
func Up(t testing.TB, kind Kind, names ...string) []*Host {
	t.Helper()
	script(t, append([]string{"down"}, names...)...)
	if os.Getenv("ECDEPLOY_LAB_KEEP") != "1" {
		t.Cleanup(func() { script(t, append([]string{"down"}, names...)...) })
	}
	script(t, append(append([]string{"up"}, strings.Fields(string(kind))...), names...)...)
	var hosts []*Host
	for _, name := range names {
		hosts = append(hosts, &Host{Name: name, IP: strings.TrimSpace(script(t, "ip", name)), Domain: name + ".test"})
	}
	return hosts
}

// Restart shuts the host down and boots it again, and returns when all of its services
// answer. Its Docker engine's rules for its resolver have other ports then.
func (h *Host) Restart(t testing.TB) {
	t.Helper()
	if out, err := exec.Command("docker", "restart", "--time", "60", "ecdeploy-lab-"+h.Name).CombinedOutput(); err != nil {
		t.Fatalf("restart %s: %v\n%s", h.Name, err, out)
	}
	script(t, "up", h.Name)
}

// Exec runs sh text on the host as root, past SSH, and returns its standard
// output as it is. The test ends if it fails.
func (h *Host) Exec(t testing.TB, text string) string {
	t.Helper()
	return script(t, "exec", h.Name, "sh", "-c", text)
}

// Env is one value of `scripts/lab env`.
func Env(t testing.TB, key string) string {
	t.Helper()
	out := script(t, "env")
	for line := range strings.Lines(out) {
		if k, v, ok := strings.Cut(strings.TrimSpace(line), "="); ok && k == key {
			return v
		}
	}
	t.Fatalf("scripts/lab env has no %s:\n%s", key, out)
	return ""
}

// CA is the certificate, as PEM, of who signed those of all hosts.
func CA(t testing.TB) []byte {
	t.Helper()
	return readFile(t, Env(t, "CA"))
}

// Hosts maps every name of every host that is up to its address. No resolver of
// this machine knows them.
func Hosts(t testing.TB) map[string]string {
	t.Helper()
	return parseHosts(string(readFile(t, Env(t, "HOSTS"))))
}

func parseHosts(text string) map[string]string {
	hosts := map[string]string{}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		for i := 1; i < len(f); i++ {
			hosts[f[i]] = f[0]
		}
	}
	return hosts
}

// PlanText is a plan file for the sites of these hosts.
func PlanText(t testing.TB, names ...string) string {
	t.Helper()
	return script(t, append([]string{"plan"}, names...)...)
}

// User registers a new user at the Synapse of a host and returns an access
// token of theirs.
func User(t testing.TB, host, user string) string {
	t.Helper()
	return strings.TrimSpace(script(t, "user", host, user))
}

// root is the folder of this module, whichever package's test runs.
var root = sync.OnceValues(func() (string, error) {
	out, err := exec.Command("go", "env", "GOMOD").Output()
	return filepath.Dir(strings.TrimSpace(string(out))), err
})

// script runs scripts/lab and returns its standard output. What it tells of its
// progress goes to the test's log.
func script(t testing.TB, args ...string) string {
	t.Helper()
	dir, err := root()
	if err != nil {
		t.Fatalf("find the module: %v", err)
	}
	cmd := exec.Command(filepath.Join(dir, "scripts", "lab"), args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Run(); err != nil {
		t.Fatalf("scripts/lab %s: %v\n%s%s", strings.Join(args, " "), err, &errs, &out)
	}
	if args[0] == "up" {
		t.Logf("%s", strings.TrimSpace(errs.String()))
	}
	return out.String()
}

func readFile(t testing.TB, path string) []byte {
	t.Helper()
	b, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

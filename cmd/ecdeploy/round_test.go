package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/local"
	"github.com/emdecloud/ecdeploy/internal/view"
)

// asking is a host that notes what reaches it.
type asking struct {
	host.Host
	mu       sync.Mutex
	calls    int
	paths    []string
	commands []string // with all that is in them
}

func (h *asking) Read(ctx context.Context, paths ...string) ([]host.File, error) {
	h.mu.Lock()
	h.calls++
	h.paths = append(h.paths, paths...)
	h.mu.Unlock()
	return h.Host.Read(ctx, paths...)
}

func (h *asking) Query(ctx context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	h.mu.Lock()
	h.calls++
	for _, c := range cmds {
		h.commands = append(h.commands, fmt.Sprintf("%q %q %s", c.Argv, c.Stdin, c.Timeout))
	}
	h.mu.Unlock()
	return h.Host.Query(ctx, cmds...)
}

// sitesOf is a plan file of n sites, site1.test and so on, on the host x.
func sitesOf(n, port int) string {
	var b strings.Builder
	fmt.Fprintf(&b, "host \"x\" {\n  address = \"127.0.0.1\"\n  port = %d\n  user = \"root\"\n}\n", port)
	for i := 1; i <= n; i++ {
		fmt.Fprintf(&b, `site "site%[1]d.test" {
  sfu {
    host      = host.x
    url       = "https://sfu.site%[1]d.test"
    container = "sfu-site%[1]d.test"
    uid       = %[5]d
    ports {
      signalling = %[2]d
      tcp        = %[3]d
      udp        = "%[4]d-%[6]d"
    }
  }
  auth {
    host      = host.x
    url       = "https://jwt.site%[1]d.test"
    container = "jwt-site%[1]d.test"
    port      = %[7]d
    uid       = %[5]d
  }
  synapse "debian" { host = host.x }
  proxy "nginx" { host = host.x }
  well_known "file" {
    host = host.x
    path = "/nowhere/site%[1]d.test/client"
  }
}
`, i, 20000+i, 21000+i, 40000+100*i, 30000+i, 40099+100*i, 22000+i)
	}
	return b.String()
}

// quiet are stand-ins for programs that would ask others than this machine, or tell of
// what it runs.
func quiet() map[string]string {
	return map[string]string{"getent": "exit 2", "docker": "exit 1", "systemctl": "exit 1", "nginx": "exit 1", "ufw": "exit 1", "nft": "exit 1"}
}

// sessionOn connects to one host with n sites, until the test ends, and notes what
// it is asked.
func sessionOn(t testing.TB, h *local.Host, n int) (*session, *asking) {
	t.Helper()
	dir := t.TempDir()
	t.Setenv("HOME", dir)
	t.Setenv("SSH_AUTH_SOCK", "")
	path := filepath.Join(dir, "hosts.hcl")
	if err := os.WriteFile(path, []byte(sitesOf(n, h.Port)), 0o600); err != nil {
		t.Fatal(err)
	}
	a := &app{screen: view.NewScreen(nil, io.Discard, io.Discard), sshConfig: os.DevNull, knownHosts: []string{filepath.Join(dir, "known_hosts")}, acceptNew: true}
	f, err := a.load(path, false)
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.connect(t.Context(), f)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(s.Close)
	x := &asking{Host: s.hosts["x"]}
	s.hosts["x"] = x
	return s, x
}

// questions are what a host was asked: per site what names it, and the rest.
type questions struct {
	of     [][]string // by the site's number; 0 is none's
	shared []string   // sorted
}

// sorted parts what n sites asked.
func (h *asking) sorted(n int) questions {
	q := questions{of: make([][]string, n+1)}
	for _, a := range slices.Concat(h.paths, h.commands) {
		site := n
		for site > 0 && !strings.Contains(a, fmt.Sprintf("site%d.test", site)) {
			site--
		}
		if site == 0 {
			q.shared = append(q.shared, a)
			continue
		}
		q.of[site] = append(q.of[site], a)
	}
	slices.Sort(q.shared)
	return q
}

// planOnce plans n sites of one host and notes what it is asked.
func planOnce(t *testing.T, n int) *asking {
	t.Helper()
	s, x := sessionOn(t, local.Start(t, quiet()), n)
	if _, _, err := s.planAll(t.Context(), keepKeys); err != nil {
		t.Fatal(err)
	}
	return x
}

// Twenty sites ask their host what one asks, and each for what is its own.
func TestSitesOfOneHostAskOnce(t *testing.T) {
	const n = 20
	x := planOnce(t, n)
	one, all := planOnce(t, 1).sorted(1), x.sorted(n)
	if d := cmp.Diff(one.shared, all.shared); d != "" {
		t.Errorf("what no site owns differs: %s", d)
	}
	for i := 1; i <= n; i++ {
		if len(all.of[i]) != len(one.of[1]) {
			t.Errorf("site %d asked %q\nalone it asks %q", i, all.of[i], one.of[1])
		}
	}
	asked := slices.Sorted(slices.Values(slices.Concat(x.paths, x.commands)))
	if once := slices.Compact(slices.Clone(asked)); len(once) != len(asked) {
		t.Errorf("of %d questions only %d are different", len(asked), len(once))
	}
	if want := len(one.shared) + n*len(one.of[1]); len(asked) != want || len(one.shared) == 0 || len(one.of[1]) == 0 {
		t.Errorf("%d questions, want %d", len(asked), want)
	}
}

// A plan made again knows nothing from before.
func TestPlanningAgainAsksAgain(t *testing.T) {
	s, x := sessionOn(t, local.Start(t, quiet()), 1)
	var before []string
	for round := range 3 {
		x.paths, x.commands = nil, nil
		if _, err := keepKeys(t.Context(), s.file, s.file.Sites[0], s.round()); err != nil {
			t.Fatal(err)
		}
		asked := slices.Sorted(slices.Values(slices.Concat(x.paths, x.commands)))
		if d := cmp.Diff(before, asked); round > 0 && d != "" {
			t.Errorf("round %d: %s", round, d)
		}
		before = asked
	}
	if len(before) == 0 {
		t.Error("it asks nothing")
	}
}

//go:build linux

package firewall

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// netSpace is a host in a network namespace of its own, and a client in another,
// joined by a cable. Each port of the host that a test names answers with what it is
// sent.
type netSpace struct {
	t      *testing.T
	host   string // names of the namespaces
	client string
	dir    string // of runs' journals
	runs   int
	unit   string // what systemctl show says
	shell  []string
}

// Addresses in the namespaces; the client has two.
const (
	spaceHost4, spaceHost6    = "192.0.2.1", "2001:db8::1"
	spaceClient4, spaceOther4 = "192.0.2.2", "192.0.2.3"
	spaceClient6              = "2001:db8::2"
)

func newNetSpace(t *testing.T) *netSpace {
	t.Helper()
	for _, tool := range []string{"nft", "ip"} {
		if _, err := exec.LookPath(tool); err != nil {
			t.Skipf("NOT TESTED WITH PACKETS: no %s here; install the packages nftables and iproute2", tool)
		}
	}
	if os.Getuid() != 0 {
		t.Skip("NOT TESTED WITH PACKETS: only root makes network namespaces")
	}
	id := "ecdeploy-" + rand.Text()[:12]
	s := &netSpace{t: t, host: id + "-h", client: id + "-c", dir: t.TempDir(), shell: []string{"sh"}}
	for _, ns := range []string{s.host, s.client} {
		t.Cleanup(func() { _ = exec.Command("ip", "netns", "delete", ns).Run() }) // one that was not made is gone, too
		if out, err := exec.Command("ip", "netns", "add", ns).CombinedOutput(); err != nil {
			t.Skipf("NOT TESTED WITH PACKETS: ip netns add: %v: %s", err, out)
		}
	}
	s.must(`ip -n ` + s.host + ` link add e type veth peer name e netns ` + s.client + `
for n in ` + s.host + ` ` + s.client + `; do ip -n $n link set lo up && ip -n $n link set e up; done
ip -n ` + s.host + ` addr add ` + spaceHost4 + `/24 dev e && ip -n ` + s.host + ` addr add ` + spaceHost6 + `/64 dev e nodad
ip -n ` + s.client + ` addr add ` + spaceClient4 + `/24 dev e && ip -n ` + s.client + ` addr add ` + spaceOther4 + `/24 dev e
ip -n ` + s.client + ` addr add ` + spaceClient6 + `/64 dev e nodad`)
	return s
}

// must runs sh text outside of the namespaces.
func (s *netSpace) must(text string) {
	s.t.Helper()
	if out, err := exec.Command("sh", "-ec", text).CombinedOutput(); err != nil {
		s.t.Fatalf("%v\n%s\n%s", err, text, out)
	}
}

// sh runs sh text on the host.
func (s *netSpace) sh(text string) (string, error) {
	out, err := exec.Command("ip", slices.Concat([]string{"netns", "exec", s.host}, s.shell, []string{"-c", text})...).CombinedOutput()
	return string(out), err
}

// load puts a ruleset in, as nftables.service does.
func (s *netSpace) load(ruleset string) {
	s.t.Helper()
	path := filepath.Join(s.dir, "nftables.conf")
	if err := os.WriteFile(path, []byte(ruleset), 0o600); err != nil {
		s.t.Fatal(err)
	}
	if out, err := s.sh("nft -f " + path); err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
}

// ruleset is all that nftables has, without handles.
func (s *netSpace) ruleset() string {
	s.t.Helper()
	out, err := s.sh("nft -s list ruleset")
	if err != nil {
		s.t.Fatalf("%v\n%s", err, out)
	}
	return out
}

// within runs f in a namespace: sockets that it makes are there.
func (s *netSpace) within(ns string, f func() error) error {
	runtime.LockOSThread()
	own, err := os.Open(fmt.Sprintf("/proc/self/task/%d/ns/net", unix.Gettid()))
	if err != nil {
		return err
	}
	there, err := os.Open("/var/run/netns/" + ns)
	if err != nil {
		return errors.Join(err, own.Close())
	}
	err = unix.Setns(int(there.Fd()), unix.CLONE_NEWNET)
	if err == nil {
		err = f()
	}
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		return back // the thread stays locked, so it ends with its goroutine
	}
	runtime.UnlockOSThread()
	return errors.Join(err, own.Close(), there.Close())
}

// listen makes the host answer on ports, over IPv4 and IPv6.
func (s *netSpace) listen(ports ...int) {
	s.t.Helper()
	for _, port := range ports {
		var l net.Listener
		var p net.PacketConn
		err := s.within(s.host, func() (err error) {
			if l, err = net.Listen("tcp", fmt.Sprintf("[::]:%d", port)); err != nil {
				return err
			}
			p, err = net.ListenPacket("udp", fmt.Sprintf("[::]:%d", port))
			return err
		})
		if err != nil {
			s.t.Fatal(err)
		}
		s.t.Cleanup(func() { _, _ = l.Close(), p.Close() })
		go func() {
			for c, err := l.Accept(); err == nil; c, err = l.Accept() {
				_ = c.Close() // to be let in is all that counts
			}
		}()
		go func() {
			b := make([]byte, 100)
			for n, from, err := p.ReadFrom(b); err == nil; n, from, err = p.ReadFrom(b) {
				_, _ = p.WriteTo(b[:n], from) // the client sees whether it came
			}
		}()
	}
}

// reaches reports whether the client, from its address, gets through to a port in time.
func (s *netSpace) reaches(proto, from string, port int, in time.Duration) (ok bool, err error) {
	to := spaceHost4
	d := net.Dialer{Timeout: in, LocalAddr: &net.TCPAddr{IP: net.ParseIP(from)}}
	if proto == "udp" {
		d.LocalAddr = &net.UDPAddr{IP: net.ParseIP(from)}
	}
	if strings.Contains(from, ":") {
		to = spaceHost6
	}
	err = s.within(s.client, func() error {
		c, err := d.Dial(proto, net.JoinHostPort(to, fmt.Sprint(port)))
		if err != nil {
			return nil // it is closed
		}
		ok = proto == "tcp"
		if !ok {
			_ = c.SetDeadline(time.Now().Add(in))
			if _, err := c.Write([]byte("x")); err == nil {
				_, err = c.Read(make([]byte, 1))
				ok = err == nil
			}
		}
		return c.Close()
	})
	return ok, err
}

// wantOpen checks the ends of openings over IPv4, and over IPv6 where they are for the
// world.
func (s *netSpace) wantOpen(want bool, open ...Opening) {
	s.t.Helper()
	for _, o := range open {
		if o.From != "" {
			s.want(want, o.From, o)
		}
	}
	world := slices.DeleteFunc(slices.Clone(open), func(o Opening) bool { return o.From != "" })
	s.want(want, spaceClient4, world...)
	s.want(want, spaceClient6, world...)
}

// want checks the ends of openings from one address of the client, all at once.
func (s *netSpace) want(want bool, from string, open ...Opening) {
	s.t.Helper()
	in := 300 * time.Millisecond // nothing comes back, however long one waits
	if want {
		in = 10 * time.Second
	}
	var wg sync.WaitGroup
	for _, o := range open {
		for _, port := range slices.Compact([]int{o.First, o.Last}) {
			wg.Go(func() {
				if got, err := s.reaches(o.Proto, from, port, in); err != nil || got != want {
					s.t.Errorf("%s %d from %s: let in %v, want %v; %v", o.Proto, port, from, got, want, err)
				}
			})
		}
	}
	wg.Wait()
}

// listenOn makes the host answer on the ends of openings.
func (s *netSpace) listenOn(open []Opening) {
	s.t.Helper()
	var ports []int
	for _, o := range open {
		ports = append(ports, o.First, o.Last)
	}
	slices.Sort(ports)
	s.listen(slices.Compact(ports)...)
}

// Name implements host.Observer.
func (s *netSpace) Name() string { return "h" }

// Read implements host.Observer; the host has no files of ours.
func (s *netSpace) Read(_ context.Context, paths ...string) ([]host.File, error) {
	var out []host.File
	for _, p := range paths {
		out = append(out, host.File{Path: p})
	}
	return out, nil
}

// Query implements host.Observer: all but systemctl is asked on the host.
func (s *netSpace) Query(ctx context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	var out []host.Result
	for _, c := range cmds {
		if c.Argv[0] == "systemctl" {
			out = append(out, host.Result{Stdout: []byte(s.unit)})
			continue
		}
		cmd := exec.CommandContext(ctx, "ip", append([]string{"netns", "exec", s.host}, c.Argv...)...)
		b, err := cmd.Output()
		r := host.Result{Stdout: b}
		if exit, ok := errors.AsType[*exec.ExitError](err); ok {
			r.Code, r.Stderr = exit.ExitCode(), exit.Stderr
		} else if err != nil {
			return nil, err
		}
		out = append(out, r)
	}
	return out, nil
}

// decide looks at the host and decides.
func (s *netSpace) decide(open ...Opening) steps.Decision {
	s.t.Helper()
	return s.decideFor("example.org", open...)
}

// decideFor is decide for a site of that name.
func (s *netSpace) decideFor(name string, open ...Opening) steps.Decision {
	s.t.Helper()
	f, err := probeNFT(s.t.Context(), s, &steps.Site{Name: name})
	if err != nil {
		s.t.Fatal(err)
	}
	return f.decide(&steps.Site{Name: name}, open)
}

// spaceRun is a change in the journal of a run.
type spaceRun struct {
	s        *netSpace
	frame    string
	resolved steps.Resolved
}

// run prepares a change, as arming does.
func (s *netSpace) run(c steps.Change) spaceRun {
	s.t.Helper()
	r, err := c.Resolve(s.t.Context(), steps.Env{Host: s})
	if err != nil {
		s.t.Fatal(err)
	}
	s.runs++
	dir := fmt.Sprintf("%s/run%d", s.dir, s.runs)
	if err := errors.Join(os.MkdirAll(dir+"/change", 0o700), os.WriteFile(dir+"/lib.sh", []byte(steps.Lib), 0o600)); err != nil {
		s.t.Fatal(err)
	}
	return spaceRun{s, "export LC_ALL=C; R=" + dir + " J=" + dir + "/change RUN=r; . $R/lib.sh || exit 1\n", r}
}

// do runs texts of the change one after the other; each has to succeed.
func (r spaceRun) do(texts ...string) {
	r.s.t.Helper()
	for _, text := range texts {
		if out, err := r.s.sh(r.frame + text); err != nil {
			r.s.t.Fatalf("%v\n%s\n%s", err, text, out)
		}
	}
}

package main

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// The faults. A standing one is lifted at a random later moment.
var faultNames = []string{
	"killed", "interrupted", "reset", "black hole", "sleeps and wakes", "power fails",
	"disk full", "read-only", "engine restarted", "engine gone", "hangs",
	"sshd stopped", "second ecdeploy", "human edit", "clock an hour off",
}

// child is one ecdeploy with faults in its transport.
type child struct {
	l    *lane
	dir  string // shared with its transport
	cmd  *exec.Cmd
	said bytes.Buffer
	done chan struct{}
}

// start makes ready what run starts.
func (l *lane) start(scenario string, env []string) *child {
	s := scenarios[scenario]
	dir, err := os.MkdirTemp(l.dir, "child")
	if err != nil {
		l.t.Error(err)
	}
	c := &child{l: l, dir: dir, done: make(chan struct{})}
	args := append(append([]string{}, s.command...), "--known-hosts", l.knownHosts(), l.plan(s.plan, true))
	c.cmd = exec.Command(l.self, args...)
	c.cmd.Env = append(append(os.Environ(), "ECDEPLOY_FAULT_DIR="+dir, "XDG_STATE_HOME="+l.heads()), env...)
	c.cmd.Stdout, c.cmd.Stderr = &c.said, &c.said
	if s.fail != "" {
		c.put("fail", s.fail)
	}
	return c
}

func (c *child) run() {
	if err := c.cmd.Start(); err != nil {
		c.l.t.Error(err)
		close(c.done)
		return
	}
	go func() {
		_ = c.cmd.Wait() // the exit code says it
		close(c.done)
	}()
}

// put writes a file of the folder that the child watches.
func (c *child) put(name, text string) {
	if err := os.WriteFile(filepath.Join(c.dir, name), []byte(text), 0o600); err != nil {
		c.l.t.Error(err)
	}
}

func (c *child) ended() bool {
	select {
	case <-c.done:
		return true
	default:
		return false
	}
}

// wait gives it so long to end by itself, then kills it: exit code -2.
func (c *child) wait(most time.Duration) int {
	select {
	case <-c.done:
		return c.cmd.ProcessState.ExitCode()
	case <-time.After(most):
		_ = c.cmd.Process.Kill() // it has just ended
		<-c.done
		return -2
	}
}

func (c *child) out() string {
	if !c.ended() {
		return "(it still runs)"
	}
	return c.said.String()
}

func (c *child) signal(s syscall.Signal) {
	if !c.ended() {
		_ = c.cmd.Process.Signal(s) // it has just ended
	}
}

// run carries out one case.
func (l *lane) run(c faultCase) (r faultResult) {
	began := time.Now()
	r = faultResult{faultCase: c, Commit: os.Getenv("ECDEPLOY_FAULT_COMMIT")}
	fail := func(verdict string, err error) faultResult {
		r.Verdict, r.Detail, r.Seconds = verdict, err.Error(), time.Since(began).Seconds()
		l.state = "again"
		return r
	}
	if strings.HasPrefix(c.Point, "commit/") && scenarios[c.Scenario].next == "" {
		// What a commit tidies up after is there on new hosts alone: taking the
		// last run back leaves no earlier one.
		l.state = "again"
	}
	needed := []string{c.Scenario}
	if like := scenarios[c.Scenario].like; like != "" && c.Fault == "second ecdeploy" { // that one does not fail
		needed = append(needed, like)
	}
	for _, s := range needed {
		if l.points[s] == nil {
			if err := l.learn(s); err != nil {
				return fail("lost", fmt.Errorf("%s, undisturbed: %w", s, err))
			}
		}
	}
	if err := l.prepareScenario(c.Scenario); err != nil {
		return fail("lost", fmt.Errorf("getting ready: %w", err))
	}
	h := l.hosts[0]
	key := c.Point
	if rest, ok := strings.CutPrefix(key, "b:"); ok {
		h, key = l.hosts[1], rest
	}
	for _, h := range l.hosts { // what is there now would survive a power failure
		if _, err := sh("sync", "-f", h.disk); err != nil {
			return fail("lost", err)
		}
	}
	var env []string
	if c.Fault == "clock an hour off" {
		env = append(env, "ECDEPLOY_FAULT_CLOCK=1h")
	}
	proc := l.start(c.Scenario, env)
	target := fmt.Sprintf("%d %s\n", c.Nth, key)
	onHost := !strings.HasPrefix(key, "laptop/")
	if onHost {
		if err := os.MkdirAll(h.fault(), 0o700); err != nil {
			return fail("lost", err)
		}
		if err := os.WriteFile(h.fault("target"), []byte(target), 0o600); err != nil {
			return fail("lost", err)
		}
	} else {
		proc.put("target", target)
	}
	root := h.root()
	at := filepath.Join(proc.dir, "at")
	if onHost {
		at = filepath.Join(root, "run/ecfault/at")
	}
	proc.run()
	reached, waiting := false, false
	for end := time.Now().Add(time.Minute); time.Now().Before(end) && !reached; time.Sleep(5 * time.Millisecond) {
		if reached = exists(at); !reached && proc.ended() {
			if soon := time.Now().Add(3 * time.Second); soon.Before(end) && !waiting { // the watch goes on for a moment
				end, waiting = soon, true
			}
		}
	}
	if !reached {
		r.Exit = proc.wait(time.Minute)
		os.RemoveAll(h.fault())
		l.judge(&r, &breakage{l: l, h: h, proc: proc})
		if r.Verdict != "lost" {
			r.Verdict = "missed"
		}
		l.state = "again"
		return r
	}
	if !onHost {
		if on, err := os.ReadFile(at); err == nil && string(on) == "h1" && len(l.hosts) > 1 {
			h = l.hosts[1]
		}
	}
	b := &breakage{l: l, h: h, proc: proc, rnd: rand.New(rand.NewPCG(hash(c.ID), 1))}
	goOn := func() {
		if onHost {
			for _, h := range l.hosts { // the folder itself: nothing stops there any more
				os.RemoveAll(h.fault())
			}
			os.RemoveAll(filepath.Join(root, "run/ecfault"))
			return
		}
		proc.put("go", "")
	}
	if err := b.inject(c.Fault, goOn); err != nil {
		goOn()
		b.lift()
		return fail("lost", fmt.Errorf("injecting: %w", err))
	}
	r.Exit = proc.wait(100 * time.Second)
	l.judge(&r, b)
	r.Seconds = time.Since(began).Seconds()
	return r
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

func hash(s string) uint64 {
	h := fnv.New64()
	h.Write([]byte(s))
	return h.Sum64()
}

// breakage is what a case has broken.
type breakage struct {
	l      *lane
	h      *faultHost
	proc   *child
	rnd    *rand.Rand
	lifts  []func() error
	edited string // by a human, on the host
	second string // what a second ecdeploy said
	wrong  error  // what no verdict on the host's state would show
}

// lift ends what stands.
func (b *breakage) lift() error {
	var errs []error
	for _, f := range b.lifts {
		errs = append(errs, f())
	}
	b.lifts = nil
	return errors.Join(errs...)
}

// later is a moment between one and eight seconds from now.
func (b *breakage) later() {
	time.Sleep(time.Second + time.Duration(b.rnd.Int64N(int64(7*time.Second))))
}

// inject breaks something, lets the run go on, and, where the fault stands,
// lifts it later.
func (b *breakage) inject(fault string, goOn func()) error {
	stands := func(how string, lift string) error {
		if err := b.h.exec(how); err != nil {
			return err
		}
		b.lifts = append(b.lifts, func() error { return b.h.exec(lift) })
		goOn()
		b.later()
		return b.lift()
	}
	switch fault {
	case "killed":
		b.proc.signal(syscall.SIGKILL)
		goOn()
	case "interrupted", "clock an hour off":
		b.proc.signal(syscall.SIGINT)
		goOn()
	case "reset":
		b.h.relay.Cut()
		goOn()
	case "black hole":
		b.h.relay.Swallow()
		goOn()
		b.later()
		b.h.relay.Cut()
	case "sleeps and wakes":
		b.proc.signal(syscall.SIGSTOP)
		goOn()
		if err := b.l.settle(60 * time.Second); err != nil {
			b.wrong = fmt.Errorf("while the laptop slept: %w", err)
		}
		b.proc.signal(syscall.SIGCONT)
	case "power fails":
		_, err := labScript("crash", b.h.name)
		goOn()
		b.h.relay.Cut()
		if err != nil {
			return err
		}
		// What systemd-sysctl does on a machine, and cannot in a container.
		return b.h.exec("sysctl -q --system || :")
	case "disk full":
		full := filepath.Join(b.h.disk, "full")
		b.lifts = append(b.lifts, func() error { return os.Remove(full) })
		if _, err := sh("sh",
			"-c",
			`dd if=/dev/zero of="$1" bs=64k 2>/dev/null; dd if=/dev/zero of="$1" bs=1k oflag=append conv=notrunc 2>/dev/null; sync "$1"; :`,
			"sh", full); err != nil {
			return err
		}
		goOn()
		b.later()
		return b.lift()
	case "read-only":
		// A file that is open for writing keeps a mount from it.
		return stands("for d in /var/lib/ecdeploy /etc; do mount -o remount,bind,ro $d || :; done",
			"for d in /var/lib/ecdeploy /etc; do mount -o remount,bind,rw $d; done")
	case "engine restarted":
		goOn()
		return b.h.exec("systemctl reset-failed docker; systemctl restart docker")
	case "engine gone":
		return stands("systemctl stop docker.socket docker", "systemctl reset-failed docker; systemctl start docker.socket docker")
	case "hangs":
		b.later()
		goOn()
	case "sshd stopped":
		return stands("systemctl stop ssh", "systemctl start ssh")
	case "second ecdeploy":
		out, code := b.l.ecdeploy(scenarios[b.l.state].plan, "apply", "--yes")
		b.second = fmt.Sprintf("exit code %d\n%s", code, out)
		goOn()
	case "human edit":
		files := []string{"/var/www/html/.well-known/matrix/client", "/etc/nginx/nginx.conf", "/etc/nginx/conf.d/ecdeploy-" + b.l.hosts[0].name + ".test.conf"}
		b.edited = files[b.rnd.IntN(len(files))]
		err := b.h.exec(fmt.Sprintf("f=%s; if [ -e $f ]; then case $f in *client) echo ' ' >>$f;; *) echo '# a human' >>$f;; esac; else touch /etc/a-human; fi",
			b.edited))
		goOn()
		return err
	default:
		return fmt.Errorf("unknown fault %q", fault)
	}
	return nil
}

package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/base64"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// panicky is a host on which one kind of call ends in a panic of ours. It is what
// ECDEPLOY_TEST_PANIC makes of this test binary's hosts; the product knows nothing
// of it.
type panicky struct {
	host.Host
	when string
}

func runWithPanic(when string) {
	wrapHost = func(h host.Host) host.Host { return &panicky{h, when} }
	os.Exit(run(os.Args[1:]))
}

func (p *panicky) Upload(ctx context.Context, files []host.Upload) error {
	if p.when == "upload" {
		files[len(files)+len(p.when)].Data = nil
	}
	return p.Host.Upload(ctx, files)
}

func (p *panicky) Run(ctx context.Context, script string, timeout time.Duration) (host.Result, error) {
	if p.when == "change" && strings.Contains(script, "ec_set_aside ") {
		_ = script[len(script)+len(p.when):]
	}
	return p.Host.Run(ctx, script, timeout)
}

// secretsOf are what must show nowhere, by what they are.
type secretsOf map[string]string

// in fails the test for each secret that text holds, as it is, in base64, or in
// base64 of base64, as scripts cross the shell channel.
func (s secretsOf) in(t *testing.T, where string, text []byte) {
	t.Helper()
	words := regexp.MustCompile(`[A-Za-z0-9+/]{8,}`)
	for range 3 {
		for what, value := range s {
			if bytes.Contains(text, []byte(value)) {
				t.Errorf("%s is in %s", what, where)
			}
		}
		var inner []byte
		for _, w := range words.FindAll(text, -1) {
			b, _ := base64.RawStdEncoding.DecodeString(string(w[:len(w)/4*4])) // what decodes counts
			inner = append(append(inner, b...), '\n')
		}
		text = inner
	}
}

// A run as a user of sudo, on a host that records what sudo does, watched by
// another user and by root: no secret is where it has no business.
func TestE2ELeaks(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Light, "leak")[0]
	password, err := os.ReadFile(lab.Env(t, "DEPLOYPW"))
	if err != nil {
		t.Fatal(err)
	}
	secrets := secretsOf{"the secret": "GivenByTheEnvironment0123456789abcdefghijklmnop", "the key": "TheKeyOfThisTest0123456789", "the sudo password": strings.TrimSpace(string(password))}
	c := newCLI(t, "ECDEPLOY_TEST_SECRET="+secrets["the secret"], "ECDEPLOY_TEST_KEY="+secrets["the key"])
	plan := planFile(t, sudoPlan(t, h, "deploypw", fmt.Sprintf("sudo_password { file = %q }", lab.Env(t, "DEPLOYPW"))), `"TheKeyOfThisTest"`, `env("ECDEPLOY_TEST_KEY")`)

	h.Exec(t, "echo 'Defaults log_input, log_output' >/etc/sudoers.d/zz-records")
	for _, args := range [][]string{{"plan"}, {"status"}, {"apply", "--yes"}} {
		if out := c.run(t, exitError, append(args, plan)...); !strings.Contains(out, "log_output") || !strings.Contains(out, "hint: add to sudoers: Defaults:deploypw !log_output") {
			t.Errorf("where output is recorded, %v says\n%s", args, out)
		}
	}
	h.Exec(t, "echo 'Defaults log_input' >/etc/sudoers.d/zz-records")
	before := h.Snapshot(t)
	runPhase(t, "panics", func(t *testing.T) { checkPanicLeak(t, c, h, plan, secrets) })

	watch(t, h)
	if out := c.run(t, exitOK, "apply", "--yes", "-vvv", plan); !strings.Contains(out, "secrets go around it, by SFTP as deploypw") {
		t.Errorf("nothing tells that sudo records:\n%s", out)
	}
	checkWatchedLeak(t, h, secrets)
	c.run(t, exitOK, "plan", "--json", plan)
	c.run(t, exitOK, "status", "-vvv", plan)
	if got := h.Exec(t, "cat /etc/ecdeploy/leak.test/sfu/keys.yaml /etc/ecdeploy/leak.test/auth/secret"); strings.Count(got, secrets["the secret"]) != 2 {
		t.Error("the secret did not arrive")
	}
	secrets.in(t, "docker inspect and logs", []byte(h.Exec(t, "docker inspect $(docker ps -aq); for c in $(docker ps -aq); do docker logs $c 2>&1; done; docker history --no-trunc $(docker images -q) 2>/dev/null; :")))
	secrets.in(t, "logs", []byte(h.Exec(t, "journalctl -q --no-pager; cat /var/log/*.log 2>/dev/null; :")))
	if got := h.Exec(t, "ls -d /run/ecdeploy.* /tmp/ecdeploy* /tmp/tmp.* 2>/dev/null; :"); got != "" {
		t.Errorf("left behind:\n%s", got)
	}
	c.run(t, exitOK, "rollback", "--yes", plan)
	compareSnapshots(t, "rollback", before, h.Snapshot(t))
	checkRecordedLeak(t, h, secrets)
	secrets.in(t, "what was printed", c.all.Bytes())
}

// checkPanicLeak ends a run by a bug of ours, at two moments in which secrets are at
// hand. The host rolls back by itself.
func checkPanicLeak(t *testing.T, c *cli, h *lab.Host, plan string, secrets secretsOf) {
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	for _, when := range []string{"upload", "change"} {
		cmd := c.command(self, "apply", "--yes", "-vvv", plan)
		cmd.Env = append(cmd.Env, "ECDEPLOY_TEST_PANIC="+when, "GOTRACEBACK=all")
		out, err := cmd.CombinedOutput()
		if err == nil || !bytes.Contains(out, []byte("panic: ")) || !bytes.Contains(out, []byte("panicky")) {
			t.Errorf("no panic in the %s: %v\n%s", when, err, out)
		}
		secrets.in(t, "a panic's output", out)
		c.run(t, exitOK, "rollback", "--yes", "--force", plan)
	}
	h.Exec(t, "rm -rf /var/log/sudo-io; docker image rm -f $(docker image ls -q) >/dev/null 2>&1; :")
}

// watch starts two programs that look at all that they can see until the end:
// root at processes and modes, and somebody who is nobody at files.
func watch(t *testing.T, h *lab.Host) {
	h.Exec(t, `install -o nobody /dev/null /run/nobody.sees
nohup sh -c 'while [ ! -e /run/watch.end ]; do
	cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr "\0" "\n"
	sleep 0.01
done | sort -u >/run/root.new; mv /run/root.new /run/root.saw' >/dev/null 2>&1 &
nohup sh -c 'while [ ! -e /run/watch.end ]; do
	find /run/ecdeploy.* /var/lib/ecdeploy -printf "%M %u %p\n" 2>/dev/null
done | sort -u >/run/modes.new; mv /run/modes.new /run/modes.saw' >/dev/null 2>&1 &
nohup setpriv --reuid=65534 --regid=65534 --clear-groups sh -c 'while [ ! -e /run/watch.end ]; do
	cat /run/ecdeploy.*/* /tmp/* /tmp/*/* /var/tmp/* /var/lib/ecdeploy/runs/*/* /var/lib/ecdeploy/runs/*/changes/*/* /etc/ecdeploy/*/*/* /etc/ecdeploy/*/*/.ecdeploy.*/* 2>/dev/null
	sleep 0.01
done | sort -u >/run/nobody.sees; echo ended >>/run/nobody.sees' >/dev/null 2>&1 &`)
}

// checkWatchedLeak wants what they saw to hold no secret, and everything of the journal
// to have been root's alone at every moment.
func checkWatchedLeak(t *testing.T, h *lab.Host, secrets secretsOf) {
	t.Helper()
	h.Exec(t, ": >/run/watch.end; while [ ! -e /run/root.saw ] || [ ! -e /run/modes.saw ] || ! grep -q '^ended$' /run/nobody.sees; do sleep 0.1; done")
	processes, modes := h.Exec(t, "cat /run/root.saw"), h.Exec(t, "cat /run/modes.saw")
	if !strings.Contains(processes, "\ntimeout\n") || !strings.Contains(modes, "/changes/0005/") || !strings.Contains(modes, "drwx------ deploypw /run/ecdeploy.") {
		t.Errorf("the run was not seen:\n%s", modes)
	}
	secrets.in(t, "processes", []byte(processes))
	secrets.in(t, "files that anybody can read", []byte(h.Exec(t, "cat /run/nobody.sees")))
	// Files that keep the mode of one elsewhere, behind folders of 0700.
	image := regexp.MustCompile(`/changes/\d{4}/(.*\.old|user6?\.new|lint\d)$`)
	for l := range strings.Lines(modes) {
		f := strings.SplitN(strings.TrimSpace(l), " ", 3)
		if len(f) != 3 {
			continue
		}
		mode, owner, path := f[0], f[1], f[2]
		around := strings.HasPrefix(path, "/run/ecdeploy.") // whose files are empty until they have their mode
		if mode[4:] != "------" && !image.MatchString(path) && (!around || mode[0] == 'd') || owner != "root" && (!around || owner != "deploypw") {
			t.Errorf("open to others: %s", l)
		}
	}
}

// checkRecordedLeak looks through sudo's records.
func checkRecordedLeak(t *testing.T, h *lab.Host, secrets secretsOf) {
	t.Helper()
	dir := t.TempDir()
	tar := filepath.Join(dir, "records.tar")
	if out, err := exec.Command("sh", "-c", "../../scripts/lab exec "+h.Name+" tar -C /var/log -c sudo-io >"+tar+" && tar -C "+dir+" -xf "+tar).CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	inputs := 0
	err := filepath.Walk(dir, func(path string, info os.FileInfo, err error) error {
		if err != nil || info.IsDir() || path == tar {
			return err
		}
		b, err := os.ReadFile(path)
		if err != nil {
			return err
		}
		if z, err := gzip.NewReader(bytes.NewReader(b)); err == nil {
			if b, err = io.ReadAll(z); err != nil && len(b) == 0 {
				return err
			}
		}
		if filepath.Base(path) == "stdin" && bytes.Contains(b, []byte(" r ")) {
			inputs++
		}
		secrets.in(t, "sudo's record "+strings.TrimPrefix(path, dir), b)
		return nil
	})
	if err != nil || inputs == 0 {
		t.Errorf("sudo recorded %d shell channels (%v)", inputs, err)
	}
}

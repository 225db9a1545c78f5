package engine

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// shells are those that hosts have.
var shells = [][]string{{"dash"}, {"bash", "--posix"}, {"busybox", "ash"}, {"mksh"}}

// lib runs text with the library in front of it.
func (d *onDisk) lib(text string) (string, error) {
	return d.sh(fmt.Sprintf("D=%s R=%s RUN=R\n. $R/lib.sh\n%s", d.dir, d.run, text))
}

// waitUntil waits for something that another process does. The test fails where it
// never comes; how long it takes proves nothing.
func waitUntil(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 600 {
		if ok() {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Fatalf("it never came: %s", what)
}

func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}

// placed adds a change that has made a file, and returns its path.
func (d *onDisk) placed(t *testing.T, n int) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "f")
	put(t, file, "old\n")
	d.change(t, n, "ec_save 0 "+file, fmt.Sprintf("ec_place 0 %s 644 %d %d", file, os.Getuid(), os.Getgid()), "ec_undo_files "+file)
	return file
}

// watch starts watch.sh as a process of its own.
func (d *onDisk) watch(t *testing.T) *exec.Cmd {
	t.Helper()
	cmd := exec.Command(d.shell[0], append(d.shell[1:], d.run+"/watch.sh")...)
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { cmd.Process.Kill(); cmd.Wait() })
	return cmd
}

// A run that is fed goes on; one that is not is rolled back.
func TestWatchTakesBackWhatNobodyFeeds(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			d := newOnDisk(t, shell)
			file := d.placed(t, 1)
			if out, err := d.lib("ec_feed 600"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			watch := d.watch(t)
			time.Sleep(1500 * time.Millisecond) // it has looked at least once
			if get(t, file) != "new 1\n" || !exists(d.run+"/armed") {
				t.Fatal("it was rolled back although it was fed")
			}
			if out, err := d.lib("ec_feed 0"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if err := watch.Wait(); err != nil {
				t.Error(err)
			}
			if get(t, file) != "old\n" || !exists(d.run+"/reverted") {
				t.Error("it was not rolled back")
			}
			if out, err := d.lib("ec_feed 600"); err == nil || !strings.Contains(out, "rolled back") {
				t.Errorf("a run that was rolled back is fed: %v %s", err, out)
			}
		})
	}
}

func TestWatchTakesBackAfterAStartOfTheMachine(t *testing.T) {
	d := newOnDisk(t, []string{"sh"})
	file := d.placed(t, 1)
	put(t, d.run+"/deadline", "another-boot 99999999\n")
	if err := d.watch(t).Wait(); err != nil {
		t.Error(err)
	}
	if get(t, file) != "old\n" {
		t.Error("it was not rolled back")
	}
}

// What stops an undo is lifted some time: the watch tries until then.
func TestWatchTriesAgain(t *testing.T) {
	d := newOnDisk(t, []string{"sh"})
	file := d.placed(t, 1)
	gate := filepath.Join(t.TempDir(), "gate")
	put(t, d.run+"/changes/0001/undo.sh", "[ -e "+gate+" ] || exit 1\nec_undo_files "+file+"\n")
	watch := d.watch(t)
	waitUntil(t, "a first try", func() bool { return strings.Contains(get(t, d.run+"/report"), "did not succeed") })
	put(t, gate, "")
	if err := watch.Wait(); err != nil {
		t.Error(err)
	}
	if get(t, file) != "old\n" {
		t.Error("it was not rolled back")
	}
}

// Interrupted between the decision and what follows it, a commit is finished.
func TestWatchFinishesACommit(t *testing.T) {
	d := newOnDisk(t, []string{"sh"})
	file := d.placed(t, 1)
	put(t, d.dir+"/lock", "run R\n")
	old := filepath.Join(d.dir, "runs", "Q.example.org")
	other := filepath.Join(d.dir, "runs", "P.example.com")
	for _, dir := range []string{old, other} {
		if err := os.MkdirAll(dir, 0o700); err != nil {
			t.Fatal(err)
		}
		put(t, dir+"/run", filepath.Base(dir)[:1]+"\n")
		put(t, dir+"/reverted", "")
	}
	if err := os.Rename(d.run+"/armed", d.run+"/committed"); err != nil {
		t.Fatal(err)
	}
	if err := d.watch(t).Wait(); err != nil {
		t.Error(err)
	}
	if get(t, file) != "new 1\n" || !exists(d.run+"/closed") || exists(d.dir+"/lock") || exists(d.run+"/ballast") {
		t.Error("the commit was not finished")
	}
	if exists(old) || !exists(other) {
		t.Error("of the runs before it, those of the site go and no others")
	}
	if out, err := d.sh("sh " + d.run + "/commit.sh"); err != nil {
		t.Errorf("a second time: %v\n%s", err, out)
	}
}

func TestCommitAfterARevert(t *testing.T) {
	d := newOnDisk(t, []string{"sh"})
	file := d.placed(t, 1)
	if out, code := d.rollback(t); code != 0 {
		t.Fatal(out)
	}
	if out, err := d.sh("sh " + d.run + "/commit.sh"); err == nil || !strings.Contains(out, "rolled back") {
		t.Errorf("%v\n%s", err, out)
	}
	if get(t, file) != "old\n" {
		t.Error("not as before")
	}
}

// Interrupted while it was armed, a run has changed nothing and frees the host.
func TestWatchOfARunThatWasNeverArmed(t *testing.T) {
	d := newOnDisk(t, []string{"sh"})
	put(t, d.dir+"/lock", "run R\n")
	if err := os.Rename(d.run+"/armed", d.run+"/arming"); err != nil {
		t.Fatal(err)
	}
	if err := d.watch(t).Wait(); err != nil {
		t.Error(err)
	}
	if exists(d.dir+"/lock") || exists(d.run+"/arming") {
		t.Error("the host is not free")
	}
}

// The processes of a run whose laptop is gone would go on and undo the undo:
// they end first, with all that they have started, whoever adopted it.
func TestRollbackEndsTheRunsProcesses(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			d := newOnDisk(t, shell)
			file := d.placed(t, 1)
			// A connection, in the place of sshd's process; below it a change's
			// script, which holds the run's flock and writes for ever, and an
			// orphan, which only its environment betrays.
			text := `. ` + d.run + `/lib.sh; R=` + d.run + ` D=` + d.dir + ` RUN=R
ec_remember >$R/fence; printf 'run R\n' >$D/lock
exec 9>>$R/flock; flock 9 9>&9
ec_in_force || exit 1
(setsid sh -c 'while :; do echo orphan >` + file + `; sleep 0.05; done' 9>&- &)
while :; do echo worker >` + file + `; sleep 0.05; done`
			cmd := exec.Command(d.shell[0], append(d.shell[1:], "-c", text)...)
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			ended := make(chan error, 1)
			go func() { ended <- cmd.Wait() }()
			waitUntil(t, "the writers", func() bool { return strings.Contains(get(t, file), "worker") })
			// Theirs is not what the run left, so it would be kept as a conflict.
			put(t, d.run+"/changes/0001/undo.sh", "cat "+d.run+"/changes/0001/0.old >"+file+"\n")
			// The test itself is an ancestor of both: the fence must not reach it,
			// so only what is below the connection's own process is recorded.
			first, _, _ := strings.Cut(get(t, d.run+"/worker"), "\n")
			put(t, d.run+"/fence", "boot "+strings.TrimSpace(get(t, "/proc/sys/kernel/random/boot_id"))+"\nprocess "+first+"\n")
			if out, code := d.rollback(t); code != 0 {
				t.Fatalf("exit status %d\n%s", code, out)
			}
			<-ended
			time.Sleep(300 * time.Millisecond) // some rounds of theirs
			if got := get(t, file); got != "old\n" {
				t.Errorf("the file is %q", got)
			}
		})
	}
}

// A second run names the holder while its connection stands, and takes over
// when that is gone.
func TestLockOfADeadHolder(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			d := newOnDisk(t, shell)
			if err := os.Rename(d.run+"/armed", d.run+"/reverted"); err != nil {
				t.Fatal(err)
			}
			holder := exec.Command("sleep", "600")
			if err := holder.Start(); err != nil {
				t.Fatal(err)
			}
			text, err := d.lib(fmt.Sprintf("printf 'run OTHER\\nby them@there\\n'; ec_boot | sed 's/^/boot /'; ec_ancestors %d | head -n 1 | sed 's/^/process /'", holder.Process.Pid))
			if err != nil {
				t.Fatal(err)
			}
			put(t, d.dir+"/lock", text)
			staged := d.dir + "/runs/OTHER.example.org"
			if err := os.MkdirAll(staged, 0o700); err != nil {
				t.Fatal(err)
			}
			put(t, staged+"/run", "OTHER\n")
			take := "R= RUN=NEW\nec_take_lock 'run NEW\n'"
			out, err := d.lib(take)
			if err == nil || !strings.Contains(out, "by them@there") || strings.Contains(out, "boot ") || !exists(staged) {
				t.Errorf("while the holder is there: %v\n%s", err, out)
			}
			holder.Process.Kill()
			holder.Wait()
			if out, err := d.lib(take); err != nil || !strings.Contains(get(t, d.dir+"/lock"), "run NEW") || exists(staged) {
				t.Errorf("when the holder is gone: %v\n%s", err, out)
			}
			// Whoever has lost the lock changes nothing more.
			put(t, d.run+"/armed", "")
			if out, err := d.lib("ec_in_force && echo may"); err == nil || strings.Contains(out, "may") {
				t.Errorf("a run that lost the lock: %v\n%s", err, out)
			}
		})
	}
}

// What was edited between the plan and the change is not overwritten: the
// before-image must be what the change was made on.
func TestSaveWantsWhatTheChangeWasMadeOn(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			d := newOnDisk(t, shell)
			file := filepath.Join(t.TempDir(), "f")
			put(t, file, "old\n")
			save := func(digest string) (string, error) {
				return d.lib("J=" + d.run + "/changes; ec_save 0 " + file + " '" + digest + "'")
			}
			for _, wrong := range []string{"", strings.Repeat("0", 64)} {
				if out, err := save(wrong); err == nil || !strings.Contains(out, "somebody else") || exists(d.run+"/changes/0.saved") {
					t.Errorf("made on %q: %v\n%s", wrong, err, out)
				}
			}
			sum := sha256.Sum256([]byte("old\n"))
			if out, err := save(hex.EncodeToString(sum[:])); err != nil || get(t, d.run+"/changes/0.old") != "old\n" {
				t.Errorf("%v\n%s", err, out)
			}
		})
	}
}

// An engine that does not answer says nothing about a container: the undo
// fails and is tried again, and takes nothing for gone.
func TestUndoWithoutAnEngine(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			d := newOnDisk(t, shell)
			bin := t.TempDir()
			put(t, bin+"/docker", "#!/bin/sh\necho 'Cannot connect to the Docker daemon' >&2\nexit 1\n")
			if err := os.Chmod(bin+"/docker", 0o700); err != nil {
				t.Fatal(err)
			}
			t.Setenv("PATH", bin+":"+os.Getenv("PATH"))
			d.change(t, 1, ":", "for f in saved id running restart; do echo true >$J/container.$f; done", "ec_undo_container_old web || exit 1")
			out, code := d.rollback(t)
			if code == 0 || code == exitConflict || exists(d.run+"/conflict") || !exists(d.run+"/reverting") {
				t.Errorf("exit status %d\n%s", code, out)
			}
			put(t, bin+"/docker", "#!/bin/sh\ncase $* in version*) exit 0 ;; esac\nexit 1\n") // it answers: there is none
			if out, code := d.rollback(t); code != exitConflict || !strings.Contains(out, "is gone") {
				t.Errorf("with an engine: exit status %d\n%s", code, out)
			}
		})
	}
}

// A run that is decided but not yet tidied up after holds the host while
// somebody is at it; one that was interrupted there is tidied up after by the next.
func TestLockWaitsForTheEndOfACommit(t *testing.T) {
	d := newOnDisk(t, []string{"sh"})
	if err := os.Rename(d.run+"/armed", d.run+"/committed"); err != nil {
		t.Fatal(err)
	}
	put(t, d.dir+"/lock", "run R\n")
	const take = "R= RUN=NEW\nec_take_lock 'run NEW\n'"
	busy := exec.Command("flock", d.run+"/rollback.lock", "sleep", "600")
	if err := busy.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { busy.Process.Kill(); busy.Wait() }()
	waitUntil(t, "the lock of whoever commits", func() bool {
		return exec.Command("flock", "-n", d.run+"/rollback.lock", "true").Run() != nil
	})
	if out, err := d.lib(take); err == nil || !strings.Contains(out, "by me@here") {
		t.Errorf("while it is committed: %v\n%s", err, out)
	}
	if err := exec.Command("pkill", "-P", fmt.Sprint(busy.Process.Pid)).Run(); err != nil { // its sleep
		t.Fatal(err)
	}
	if out, err := d.lib(take); err != nil || !exists(d.run+"/closed") || !strings.Contains(get(t, d.dir+"/lock"), "run NEW") {
		t.Errorf("when that was interrupted: %v\n%s", err, out)
	}
}

// A power failure can leave an empty lock: nobody holds the host then, and whoever
// rolls it back takes the lock away. That of another run stays.
func TestUnlockAfterAPowerFailure(t *testing.T) {
	for content, stays := range map[string]bool{"": false, "run R\n": false, "run another\n": true} {
		d := newOnDisk(t, []string{"sh"})
		put(t, d.dir+"/lock", content)
		if out, code := d.rollback(t); code != 0 {
			t.Fatal(code, out)
		}
		if got := exists(d.dir + "/lock"); got != stays {
			t.Errorf("lock %q: it is there: %v", content, got)
		}
	}
}

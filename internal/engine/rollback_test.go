package engine

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/steps"
)

// onDisk is a run's folder on this machine, made as journal.stage makes it, for
// rollback.sh in a real shell.
type onDisk struct {
	dir   string // /var/lib/ecdeploy
	run   string
	shell []string
}

func newOnDisk(t *testing.T, shell []string) *onDisk {
	t.Helper()
	if _, err := exec.LookPath(shell[0]); err != nil {
		t.Skipf("no %s here: scripts/lab tools installs it", shell[0])
	}
	dir := t.TempDir()
	d := &onDisk{dir: dir, run: filepath.Join(dir, "runs", "R.example.org"), shell: shell}
	if err := os.MkdirAll(d.run+"/changes", 0o700); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.awaitQuiet) // before the folder goes
	put(t, d.run+"/rollback.sh", rollbackScript)
	put(t, d.run+"/commit.sh", commitScript)
	put(t, d.run+"/watch.sh", watchScript)
	put(t, d.run+"/lib.sh", steps.Lib+"\n"+hostLib)
	put(t, d.run+"/about", "site example.org\nrun R\nby me@here\n")
	for _, v := range []string{"EC_UNITS", "EC_CRON", "EC_LOCAL"} {
		t.Setenv(v, t.TempDir()) // instead of this machine's
	}
	put(t, d.run+"/run", "R\n")
	put(t, d.run+"/armed", "")
	put(t, d.run+"/ballast", "x")
	return d
}

// awaitQuiet waits until no watch.sh of this folder is at work any more: it looks once a
// second whether its run is over.
func (d *onDisk) awaitQuiet() {
	for range 100 {
		busy := false
		lines, _ := filepath.Glob("/proc/[0-9]*/cmdline") // the pattern is well-formed
		for _, l := range lines {
			b, _ := os.ReadFile(l) // a process that has ended is quiet
			busy = busy || strings.Contains(string(b), d.dir)
		}
		if !busy {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
}

// change adds a change that has been made: save and do ran, undo is to come.
func (d *onDisk) change(t *testing.T, n int, save, do, undo string) {
	t.Helper()
	j := fmt.Sprintf("%s/changes/%04d", d.run, n)
	if err := os.MkdirAll(j, 0o700); err != nil {
		t.Fatal(err)
	}
	put(t, j+"/undo.sh", undo+"\n")
	put(t, j+"/title", fmt.Sprintf("change %d\n", n))
	put(t, j+"/0.new", fmt.Sprintf("new %d\n", n))
	put(t, j+"/touched", "")
	if out, err := d.sh(fmt.Sprintf("R=%s RUN=R J=%s; . $R/lib.sh; %s; %s", d.run, j, save, do)); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func (d *onDisk) sh(text string) (string, error) {
	out, err := exec.Command(d.shell[0], append(d.shell[1:], "-c", text)...).CombinedOutput()
	return string(out), err
}

// rollback runs rollback.sh and returns its exit status.
func (d *onDisk) rollback(t *testing.T, args ...string) (string, int) {
	t.Helper()
	out, err := exec.Command(d.shell[0], append(append(d.shell[1:], d.run+"/rollback.sh"), args...)...).CombinedOutput()
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		return string(out), exit.ExitCode()
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(out), 0
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func get(t *testing.T, path string) string {
	t.Helper()
	b, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		return "(none)"
	}
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRollback(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			d := newOnDisk(t, shell)
			etc := t.TempDir()
			file := func(n int) string { return fmt.Sprintf("%s/f $%d'", etc, n) }
			quoted := func(n int) string { return fmt.Sprintf("'%s/f $%d'\\'''", etc, n) }
			place := func(n int) (save, do, undo string) {
				return "ec_save 0 " + quoted(n), fmt.Sprintf("ec_place 0 %s 644 %d %d", quoted(n), os.Getuid(), os.Getgid()), "ec_undo_files " + quoted(n)
			}
			put(t, file(1), "old 1\n")
			if err := os.Chmod(file(1), 0o640); err != nil {
				t.Fatal(err)
			}
			put(t, file(3), "old 3\n")
			for n := 1; n <= 4; n++ { // 2 and 4 are new files
				save, do, undo := place(n)
				if n == 3 { // which belongs together with 5
					put(t, d.run+"/five", "new 5\n")
					save += "; ec_save 1 " + quoted(5) + "; cp $R/five $J/1.new"
					do += fmt.Sprintf("; ec_place 1 %s 600 %d %d", quoted(5), os.Getuid(), os.Getgid())
					undo += " " + quoted(5)
				}
				d.change(t, n, save, do, undo)
			}
			if got := get(t, file(1)); got != "new 1\n" {
				t.Fatalf("after the change: %q", got)
			}
			put(t, file(3), "an admin's\n")                                              // somebody else was here
			put(t, d.run+"/changes/0004/undo.sh", "ec_undo_files "+quoted(4)+"; exit 1") // and this undo fails

			out, code := d.rollback(t)
			if code != 1 || !strings.Contains(out, "undo of change 4 did not succeed") {
				t.Errorf("a failing undo: exit status %d\n%s", code, out)
			}
			if get(t, file(1)) != "old 1\n" || get(t, file(2)) != "(none)" {
				t.Error("the undos after the one that failed did not run")
			}
			if st, err := os.Stat(file(1)); err != nil || st.Mode().Perm() != 0o640 {
				t.Errorf("mode %v, %v", st.Mode(), err)
			}
			if get(t, d.run+"/ballast") != "(none)" {
				t.Error("the ballast was not freed")
			}

			_, _, undo := place(4)
			put(t, d.run+"/changes/0004/undo.sh", undo)
			out, code = d.rollback(t) // again, and now it succeeds
			if code != exitConflict || !strings.Contains(get(t, d.run+"/report"), "conflict: "+file(3)) {
				t.Errorf("a conflict: exit status %d\n%s", code, out)
			}
			if get(t, file(5)) != "new 5\n" {
				t.Error("what belongs together with an edited file was rolled back without it")
			}
			if get(t, file(3)) != "an admin's\n" || get(t, d.run+"/changes/0003/0.old") != "old 3\n" {
				t.Error("of two edits one was lost")
			}
			if out, code := d.rollback(t); code != exitConflict || !strings.Contains(out, "already") {
				t.Errorf("a third time: exit status %d\n%s", code, out)
			}
			if left, _ := filepath.Glob(etc + "/.ecdeploy*"); len(left) > 0 {
				t.Errorf("left behind: %v", left)
			}
		})
	}
}

// Killed after the last undo: what is left is to free the host and to forget.
func TestRollbackCutAtItsEnd(t *testing.T) {
	d := newOnDisk(t, []string{"sh"})
	put(t, d.dir+"/lock", "run R\nby me\n")
	if err := os.Rename(d.run+"/armed", d.run+"/reverted"); err != nil {
		t.Fatal(err)
	}
	if out, code := d.rollback(t); code != 0 || get(t, d.dir+"/lock") != "(none)" {
		t.Errorf("exit status %d, the lock: %s\n%s", code, get(t, d.dir+"/lock"), out)
	}
	if _, err := os.Stat(d.run + "/changes"); !errors.Is(err, os.ErrNotExist) {
		t.Error("before-images, which may hold secrets, are left")
	}
}

func TestRollbackOfACommittedRun(t *testing.T) {
	d := newOnDisk(t, []string{"sh"})
	file := t.TempDir() + "/f"
	put(t, file, "old\n")
	d.change(t, 1, "ec_save 0 "+file, fmt.Sprintf("ec_place 0 %s 644 %d %d", file, os.Getuid(), os.Getgid()), "ec_undo_files "+file)
	if err := os.Rename(d.run+"/armed", d.run+"/committed"); err != nil {
		t.Fatal(err)
	}
	other, err := d.sh(fmt.Sprintf(". %s/lib.sh; echo run OTHER; ec_boot | sed 's/^/boot /'; ec_ancestors %d | head -n 1 | sed 's/^/process /'", d.run, os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	if out, code := d.rollback(t); code != 1 || get(t, file) != "new 1\n" {
		t.Errorf("without --committed: exit status %d\n%s", code, out)
	}
	put(t, d.dir+"/lock", other)
	if out, code := d.rollback(t, "--committed"); code != 1 || !strings.Contains(out, "run OTHER") || get(t, file) != "new 1\n" {
		t.Errorf("while another run holds the host: exit status %d\n%s", code, out)
	}
	if get(t, d.dir+"/lock") != other {
		t.Error("it took another run's lock")
	}
	put(t, d.dir+"/lock", strings.ReplaceAll(other, "process ", "process 9")) // a process that is gone
	if out, code := d.rollback(t, "--committed"); code != 0 || get(t, file) != "old\n" {
		t.Errorf("exit status %d\n%s", code, out)
	}
	if get(t, d.dir+"/lock") != "(none)" {
		t.Error("the host is still held")
	}
	if _, err := os.Stat(d.run + "/changes"); !errors.Is(err, os.ErrNotExist) {
		t.Error("before-images, which may hold secrets, are left")
	}
}

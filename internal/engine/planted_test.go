package engine

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// nobody is a user of the host who is not root and can write some folders that
// files of ours lie in, as matrix-synapse can write /etc/matrix-synapse.
const nobody = 65534

// planted is a folder that nobody owns, in one that everybody can enter, with a
// change of a file in it that is about to be made.
type planted struct {
	*onDisk
	top, dir, file, j string
}

func newPlanted(t *testing.T, shell []string, before string) *planted {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("plants files as another user")
	}
	d := newOnDisk(t, shell)
	top, err := os.MkdirTemp("", "ecdeploy-planted-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(top) })
	p := &planted{onDisk: d, top: top, dir: top + "/conf.d", file: top + "/conf.d/our's", j: d.run + "/changes/0001"}
	for dir, mode := range map[string]os.FileMode{top: 0o755, p.dir: 0o755, top + "/victim": 0o755, p.j: 0o700} {
		if err := os.MkdirAll(dir, mode); err != nil {
			t.Fatal(err)
		}
		if err := os.Chmod(dir, mode); err != nil {
			t.Fatal(err)
		}
	}
	if before != "" {
		put(t, p.file, before)
	}
	chownToOther(t, p.top, p.dir)
	put(t, top+"/victim/f", "root's\n")
	put(t, p.j+"/0.new", "new 1\n")
	put(t, p.j+"/title", "change 1\n")
	put(t, p.j+"/touched", "")
	put(t, p.j+"/undo.sh", "ec_undo_files "+p.quoted()+"\n")
	return p
}

func chownToOther(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.Lchown(path, nobody, nobody); err != nil {
			t.Fatal(err)
		}
	}
}

func (p *planted) quoted() string { return "'" + strings.ReplaceAll(p.file, "'", `'\''`) + "'" }

// attack is what a program of nobody's does just after each call of command: the
// moment that it has been waiting for.
func (p *planted) attack(command, text string) string {
	return "as_nobody() { cd " + p.top + " && setpriv --reuid=65534 --regid=65534 --clear-groups sh -c \"$1\"; }\n" +
		command + "() { command " + command + " \"$@\"; set -- $?; (as_nobody '" + strings.ReplaceAll(text, "'", `'\''`) + "' </dev/null >&2); return $1; }\n"
}

// place makes the change, under attack.
func (p *planted) place(command, text string) (string, error) {
	return p.lib("J=" + p.j + "\numask 077\nec_save 0 " + p.quoted() + " || exit 1\n" + p.attack(command, text) + "cd / && ec_place 0 " + p.quoted() + " 600 0 0")
}

// victims fails the test where something was written that nobody could not
// have written without us.
func (p *planted) victims(t *testing.T, what string) {
	t.Helper()
	if left, err := os.ReadDir(p.top + "/victim"); err != nil || len(left) != 1 || get(t, p.top+"/victim/f") != "root's\n" {
		t.Errorf("%s: root wrote where a symlink led: %v (%v), %q", what, left, err, get(t, p.top+"/victim/f"))
	}
}

// Whoever can write a folder that a file of ours lies in can put symlinks there
// at any moment. Root follows none of them.
func TestPlantedSymlinks(t *testing.T) {
	for _, shell := range shells {
		for _, c := range []struct{ name, before, command, text string }{
			{"the folder before it is entered", "old\n", "cmp", `mv conf.d gone; ln -s victim conf.d`},
			{"a folder that is not there yet", "", "dirname", `mv conf.d gone 2>/dev/null && ln -s victim conf.d; :`},
			{"the private folder", "old\n", "mktemp", `for d in conf.d/.ecdeploy.*; do mv $d conf.d/gone; ln -s ../victim $d; done`},
			{"a private folder of their own", "old\n", "mktemp", `for d in conf.d/.ecdeploy.*; do mv $d conf.d/gone; mkdir $d; ln -s ../../victim/f $d/f; done`},
			{"the private folder while it is in use", "old\n", "cp", `for d in conf.d/.ecdeploy.*; do mv $d conf.d/gone; mkdir $d; ln -s ../../victim/f $d/f; done`},
			{"the target, to a folder", "old\n", "touch", "rm -f conf.d/our*; ln -s ../victim \"conf.d/our's\""},
			{"the target, to a file that is not there", "", "chmod", "ln -s ../victim/none \"conf.d/our's\""},
			{"the folder while it is in use", "old\n", "cp", `mv conf.d gone; ln -s victim conf.d`},
		} {
			t.Run(shell[0]+"/"+c.name, func(t *testing.T) {
				p := newPlanted(t, shell, c.before)
				out, err := p.place(c.command, c.text)
				p.victims(t, "the change")
				t.Logf("the change: %v %s", err, out)
				out, code := p.rollback(t)
				t.Logf("the rollback: exit status %d\n%s", code, out)
				p.victims(t, "the rollback")
			})
		}
	}
}

// The same while a run is rolled back, which may be long after.
func TestPlantedWhileTakenBack(t *testing.T) {
	for _, shell := range shells {
		for _, c := range []struct{ name, before, command, text string }{
			{"the folder", "old\n", "cmp", `mv conf.d gone; ln -s victim conf.d`},
			{"the folder of a file that goes", "", "cmp", `mv conf.d gone; ln -s victim conf.d`},
			{"the folder while it is in use", "old\n", "cp", `mv conf.d gone; ln -s victim conf.d`},
			{"a private folder of their own", "old\n", "mktemp", `for d in conf.d/.ecdeploy.*; do mv $d conf.d/gone; mkdir $d; ln -s ../../victim/f $d/f; done`},
			{"the target", "old\n", "cp", "rm -f conf.d/our*; ln -s ../victim \"conf.d/our's\""},
		} {
			t.Run(shell[0]+"/"+c.name, func(t *testing.T) {
				p := newPlanted(t, shell, c.before)
				if out, err := p.place("true", ":"); err != nil {
					t.Fatalf("%v\n%s", err, out)
				}
				put(t, p.run+"/lib.sh", get(t, p.run+"/lib.sh")+"\n"+p.attack(c.command, c.text))
				out, code := p.rollback(t)
				t.Logf("exit status %d\n%s", code, out)
				p.victims(t, "the rollback")
			})
		}
	}
}

// What was planted before the change is refused, and said.
func TestPlantedBefore(t *testing.T) {
	for _, c := range []struct{ name, plant, want string }{
		{"a dangling symlink", "ln -s ../victim/none \"conf.d/our's\"", "is not a regular file"},
		{"a symlink to a file", "ln -s ../victim/f \"conf.d/our's\"", "is not a regular file"},
		{"a folder in its place", "mkdir \"conf.d/our's\"", "is not a regular file"},
		{"a symlink for its folder", "mv conf.d gone; ln -s gone conf.d", "through a symlink"},
	} {
		t.Run(c.name, func(t *testing.T) {
			p := newPlanted(t, []string{"sh"}, "")
			if out, err := exec.Command("sh", "-c", "cd "+p.top+" && "+c.plant).CombinedOutput(); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if out, err := p.place("true", ":"); err == nil || !strings.Contains(out, c.want) {
				t.Errorf("got %v and %q, want %q", err, out, c.want)
			}
			p.victims(t, "the change")
		})
	}
}

// Folders that look like ours keep no rollback from its end, and nothing in
// them is removed through them.
func TestPlantedLeftovers(t *testing.T) {
	for _, shell := range shells {
		t.Run(shell[0], func(t *testing.T) {
			p := newPlanted(t, shell, "old\n")
			if out, err := p.place("true", ":"); err != nil {
				t.Fatalf("%v\n%s", err, out)
			}
			if err := os.MkdirAll(p.dir+"/.ecdeploy.aaaaaa/deep", 0o700); err != nil {
				t.Fatal(err)
			}
			put(t, p.dir+"/.ecdeploy.aaaaaa/f", "nobody's")
			for name, to := range map[string]string{"/.ecdeploy.bbbbbb": "../victim", "/.ecdeploy.aaaaaa/deep/x": "../../../victim"} {
				if err := os.Symlink(to, p.dir+name); err != nil {
					t.Fatal(err)
				}
			}
			chownToOther(t, p.dir+"/.ecdeploy.aaaaaa", p.dir+"/.ecdeploy.bbbbbb")
			if err := os.MkdirAll(p.dir+"/.ecdeploy.cccccc", 0o700); err != nil { // really one of ours, interrupted
				t.Fatal(err)
			}
			put(t, p.dir+"/.ecdeploy.cccccc/f", "half of")
			if out, code := p.rollback(t); code != 0 || get(t, p.file) != "old\n" {
				t.Errorf("exit status %d, %q\n%s", code, get(t, p.file), out)
			}
			p.victims(t, "the rollback")
			if exists(p.dir + "/.ecdeploy.cccccc") {
				t.Error("what was interrupted is left behind")
			}
		})
	}
}

// At no moment can somebody else read a file that is to be root's alone.
func TestNoReadableMoment(t *testing.T) {
	for _, shell := range shells {
		for _, command := range []string{"mktemp", "cp", "chown", "chmod", "touch", "stat", "sync", "mv", "rmdir"} {
			for _, before := range []string{"", "old\n"} {
				t.Run(fmt.Sprintf("%s/%s/%t", shell[0], command, before != ""), func(t *testing.T) {
					p := newPlanted(t, shell, before)
					put(t, p.j+"/0.new", "canary\n")
					out, err := p.place(command, "find "+p.top+" "+p.onDisk.dir+" -type f -exec cat {} + 2>/dev/null")
					if err != nil || get(t, p.file) != "canary\n" {
						t.Fatalf("%v, %q\n%s", err, get(t, p.file), out)
					}
					if strings.Contains(out, "canary") {
						t.Error("another user has read it")
					}
					if st, err := os.Stat(p.file); err != nil || st.Mode() != 0o600 {
						t.Errorf("its mode is %v (%v)", st.Mode(), err)
					}
					if left, _ := filepath.Glob(p.dir + "/.ecdeploy*"); len(left) > 0 {
						t.Errorf("left behind: %v", left)
					}
				})
			}
		}
	}
}

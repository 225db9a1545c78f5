package host

import (
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// shells are the /bin/sh of Debian, RHEL, Alpine and Android.
var shells = map[string][]string{"dash": {"dash"}, "bash": {"bash", "--posix"}, "busybox": {"busybox", "ash"}, "mksh": {"mksh"}}

// startLocalShell starts a driver in a shell of this machine. What it says before its
// first line must not matter.
func startLocalShell(t *testing.T, argv []string) *shell {
	t.Helper()
	if _, err := exec.LookPath(argv[0]); err != nil {
		t.Skipf("no %s here: scripts/lab tools installs it", argv[0])
	}
	nonce := newNonce()
	dir := t.TempDir()
	// The driver says sh, and sh must be the shell in question.
	full, err := exec.LookPath(argv[0])
	if err != nil {
		t.Fatal(err)
	}
	wrapper := "#!/bin/bash\nexec -a sh " + full + " \"$@\"\n"
	if len(argv) > 1 {
		wrapper = "#!/bin/sh\nexec " + full + " " + argv[1] + " \"$@\"\n"
	}
	if err := os.WriteFile(filepath.Join(dir, "sh"), []byte(wrapper), 0o755); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("/bin/sh", "-c", "echo a banner; "+driverCommand(nonce))
	cmd.Env = append(os.Environ(), "PATH="+dir+":"+os.Getenv("PATH"))
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = os.Stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	s := newShell(nonce, in, out, func() error { return errChannelLost }, t.Logf)
	t.Cleanup(func() {
		in.Close()
		<-s.gone
		if err := cmd.Wait(); err != nil {
			t.Errorf("the driver ended with %v", err)
		}
	})
	if _, err := io.WriteString(in, "a left-over password\n"); err != nil {
		t.Fatal(err)
	}
	return s
}

func runInEachShell(t *testing.T, test func(*testing.T, *shell)) {
	for name, argv := range shells {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			test(t, startLocalShell(t, argv))
		})
	}
}

func TestAnswers(t *testing.T) {
	runInEachShell(t, func(t *testing.T, s *shell) {
		hostile := "a'b\"c\\d$(id)`id`\n\t*é\x01 -n"
		big := strings.Repeat("0123456789abcde\n", 20000)
		got, err := s.do(t.Context(), laneQuery, []request{
			Cmd{Argv: []string{"printf", "%s", hostile}}.request(),
			{script: "echo out; echo err >&2; exit 3"},
			{script: "cat"},
			Cmd{Argv: []string{"cat"}, Stdin: []byte(big)}.request(),
			{script: "no-such-program"},
			{script: "printf 'a\\0b'; printf 'no end of line' >&2"},
			{script: "exit 0"},
		})
		if err != nil {
			t.Fatal(err)
		}
		if !strings.Contains(string(got[4].Stderr), "no-such-program") {
			t.Errorf("a missing program: %q", got[4].Stderr)
		}
		got[4].Stderr = nil
		want := []Result{
			{Stdout: []byte(hostile)},
			{Code: 3, Stdout: []byte("out\n"), Stderr: []byte("err\n")},
			{},
			{Stdout: []byte(big)},
			{Code: 127},
			{Stdout: []byte("a\x00b"), Stderr: []byte("no end of line")},
			{},
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// Arguments and input arrive byte for byte, whatever they are, and what no
// program can be given is refused.
func TestHostileArguments(t *testing.T) {
	runInEachShell(t, func(t *testing.T, s *shell) {
		args := []string{"", " ", "-n", "-rf", "--", "'", `"`, "''\\''", "a\nb\n", "\n", "a\tb\r", "$(id)", "`id`", "${HOME}", "$", "*", "?", "~", "!", "#", ";", "&", "|", "<", ">", "(", ")", "{a,b}", `\`, `\\n`, "%s%n", "EC_STDIN",
			"ä€😀", "e\u0301", "\u202e\u009b", "\xff\xfe\x80", "\x01\x1b[2J\x7f", strings.Repeat("x", 64<<10), strings.Repeat("'", 8<<10)}
		input := []byte(strings.Join(args, "\n") + "\x00\nEC_STDIN\n\xff")
		got, err := s.do(t.Context(), laneQuery, []request{
			Cmd{Argv: append([]string{"printf", `%s\0`}, args...)}.request(),
			Sh(`for a; do printf '%s\0' "$a"; done`, args...).request(),
			Cmd{Argv: []string{"cat"}, Stdin: input}.request(),
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []string{strings.Join(args, "\x00") + "\x00", strings.Join(args, "\x00") + "\x00", string(input)} {
			if string(got[i].Stdout) != want {
				t.Errorf("%d: %d bytes arrived of %d, status %d, %.200q", i, len(got[i].Stdout), len(want), got[i].Code, got[i].Stderr)
			}
		}
		for _, c := range []Cmd{{Argv: []string{"printf", "a\x00b"}}, Sh("echo a\x00b")} {
			if _, err := s.do(t.Context(), laneQuery, []request{c.request()}); err == nil || !strings.Contains(err.Error(), "NUL") {
				t.Errorf("%q: %v", c.Argv, err)
			}
		}
	})
}

// A time-out ends the command and what it started, and harms nobody else.
func TestTimeout(t *testing.T) {
	runInEachShell(t, func(t *testing.T, s *shell) {
		got, err := s.do(t.Context(), laneQuery, []request{{"echo begun; sleep 600", time.Second}, {"echo fine", 0}})
		if err != nil {
			t.Fatal(err)
		}
		got[0].Stderr = nil // some shells say there that the command was ended
		want := []Result{{Code: 124, Stdout: []byte("begun\n")}, {Stdout: []byte("fine\n")}}
		if strings.Contains(t.Name(), "busybox") {
			want[0].Code = got[0].Code // the timeout that is found first decides
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// Queries run at the same time, at most three; changes never do.
func TestLanes(t *testing.T) {
	runInEachShell(t, func(t *testing.T, s *shell) {
		dir := t.TempDir()
		text := "mkdir " + dir + "/$1; ls " + dir + " | wc -l; sleep \"$2\"; rmdir " + dir + "/$1"
		run := func(in lane, seconds string) []Result {
			var reqs []request
			for _, n := range []string{"a", "b", "c", "d", "e"} {
				reqs = append(reqs, Sh(text, n, seconds).request())
			}
			got, err := s.do(t.Context(), in, reqs)
			if err != nil {
				t.Fatal(err)
			}
			return got
		}
		for _, r := range run(laneRun, "0.1") {
			if got := strings.TrimSpace(string(r.Stdout)); got != "1" {
				t.Errorf("%s changes ran at once", got)
			}
		}
		most := ""
		for _, r := range run(laneQuery, "2") {
			most = max(most, strings.TrimSpace(string(r.Stdout)))
		}
		if most != "2" && most != "3" {
			t.Errorf("%s queries ran at once, want 2 or 3", most)
		}
	})
}

func TestTruncated(t *testing.T) {
	s := startLocalShell(t, shells["dash"])
	got, err := s.do(t.Context(), laneQuery, []request{{script: "head -c 9000000 /dev/zero; echo still running >&2"}})
	if err != nil {
		t.Fatal(err)
	}
	if r := got[0]; len(r.Stdout) != MaxOutput || !r.Truncated || r.Code != 0 || string(r.Stderr) != "still running\n" {
		t.Errorf("%d bytes, truncated %v, status %d, stderr %q", len(r.Stdout), r.Truncated, r.Code, r.Stderr)
	}
}

// A script that holds a secret must not show in the process list.
func TestScriptIsNoArgument(t *testing.T) {
	runInEachShell(t, func(t *testing.T, s *shell) {
		canary := newNonce()
		got, err := s.do(t.Context(), laneRun, []request{{script: ": " + canary + "; cat /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'; :"}})
		if err != nil {
			t.Fatal(err)
		}
		if len(got[0].Stdout) == 0 {
			t.Fatal("no process was seen")
		}
		if strings.Contains(string(got[0].Stdout), canary) {
			t.Error("the script is an argument or in the environment of a process")
		}
	})
}

func TestLostConnection(t *testing.T) {
	r, w := io.Pipe()
	s := newShell("n", io.Discard, r, func() error { return errChannelLost }, t.Logf)
	time.AfterFunc(50*time.Millisecond, func() { w.Close() })
	if _, err := s.do(t.Context(), laneRun, []request{{script: "x"}}); err == nil {
		t.Error("no error from a channel that ended")
	}
}

func TestCancelled(t *testing.T) {
	s := startLocalShell(t, shells["dash"])
	ctx, cancel := context.WithCancel(t.Context())
	time.AfterFunc(50*time.Millisecond, cancel)
	if _, err := s.do(ctx, laneQuery, []request{{script: "sleep 1"}}); err != context.Canceled {
		t.Errorf("got %v", err)
	}
}

// What nobody waits for any more when its turn comes never reaches the host: it
// would come after what was asked later, such as to roll it back.
func TestEndedBeforeItsTurn(t *testing.T) {
	runInEachShell(t, func(t *testing.T, s *shell) {
		made := filepath.Join(t.TempDir(), "made")
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		for range 20 {
			if _, err := s.do(ctx, laneRun, []request{{script: "touch " + made}}); !errors.Is(err, context.Canceled) {
				t.Fatal(err)
			}
		}
		for range 3 {
			res, err := s.do(t.Context(), laneRun, []request{{script: "sleep 0.1; test -e " + made}})
			if err != nil || res[0].Code != 1 {
				t.Fatalf("%v: %+v", err, res)
			}
		}
	})
}

func TestReadFiles(t *testing.T) {
	runInEachShell(t, func(t *testing.T, s *shell) {
		dir := t.TempDir()
		weird := dir + "/a 'b' $(id) é*"
		for name, data := range map[string]string{weird: "x\n", dir + "/c1": "one", dir + "/c2": "", dir + "/.hidden": "h"} {
			if err := os.WriteFile(name, []byte(data), 0o640); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Symlink("c1", dir+"/link"); err != nil {
			t.Fatal(err)
		}
		if err := os.Symlink(dir+"/nowhere", dir+"/dangling"); err != nil {
			t.Fatal(err)
		}
		got, err := readFiles(t.Context(), []string{dir + "/c?", dir + "/none*", weird, dir + "/link", dir + "/dangling", dir}, func(ctx context.Context, r request) (Result, error) {
			res, err := s.do(ctx, laneQuery, []request{r})
			if err != nil {
				return Result{}, err
			}
			return res[0], nil
		})
		if err != nil {
			t.Fatal(err)
		}
		st, err := os.Stat(dir)
		if err != nil {
			t.Fatal(err)
		}
		own := func(f File) File {
			f.Exists = true
			f.UID, f.GID = os.Getuid(), os.Getgid()
			return f
		}
		want := []File{
			own(File{Path: dir + "/c1", Pattern: dir + "/c?", Real: dir + "/c1", Mode: 0o640, Data: []byte("one")}),
			own(File{Path: dir + "/c2", Pattern: dir + "/c?", Real: dir + "/c2", Mode: 0o640, Data: []byte{}}),
			{Path: dir + "/none*", Real: dir + "/none*"},
			own(File{Path: weird, Real: weird, Mode: 0o640, Data: []byte("x\n")}),
			own(File{Path: dir + "/link", Real: dir + "/c1", Mode: 0o640, Data: []byte("one")}),
			{Path: dir + "/dangling", Real: dir + "/nowhere"},
			own(File{Path: dir, Real: dir, Mode: st.Mode(), Names: []string{".hidden", filepath.Base(weird), "c1", "c2", "dangling", "link"}}),
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Error(d)
		}
	})
}

// The first symlink on the way that somebody else could turn elsewhere is named.
func TestLooseSymlinks(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("makes files of other users")
	}
	const nobody = 65534
	runInEachShell(t, func(t *testing.T, s *shell) {
		dir := t.TempDir()
		for name, mode := range map[string]os.FileMode{"ours": 0o755, "theirs": 0o755, "open": 0o777, "group": 0o775, "sticky": 0o777 | os.ModeSticky} {
			if err := errors.Join(os.Mkdir(dir+"/"+name, mode), os.Chmod(dir+"/"+name, mode)); err != nil {
				t.Fatal(err)
			}
		}
		for link, to := range map[string]string{"ours/a": "b", "ours/b": "../ours/file", "ours/theirs": "file", "theirs/a": "../ours/file", "open/a": "../ours/file", "group/a": "../ours/file",
			"sticky/a": "../ours/file", "sticky/theirs": "../ours/file", "ours/far": "../theirs/a", "ours/circle": "circle", "ours/dir": dir + "/theirs"} {
			if err := os.Symlink(to, dir+"/"+link); err != nil {
				t.Fatal(err)
			}
		}
		write(t, dir+"/ours/file", "x")
		write(t, dir+"/theirs/file", "x")
		for _, p := range []string{"/theirs", "/ours/theirs", "/sticky/theirs", "/theirs/file"} {
			if err := os.Lchown(dir+p, nobody, nobody); err != nil {
				t.Fatal(err)
			}
		}
		if err := os.Lchown(dir+"/group", 0, nobody); err != nil {
			t.Fatal(err)
		}
		want := map[string]string{"ours/file": "", "theirs/file": "", "ours/a": "", "ours/dir/file": "", "ours/../ours/./a": "", "sticky/a": "", "ours/circle": "",
			"ours/theirs": "ours/theirs", "theirs/a": "theirs/a", "open/a": "open/a", "group/a": "group/a", "sticky/theirs": "sticky/theirs", "ours/far": "theirs/a", "ours/dir/a": "theirs/a"}
		var paths []string
		for p := range want {
			paths = append(paths, dir+"/"+p)
		}
		files, err := readFiles(t.Context(), paths, func(ctx context.Context, r request) (Result, error) {
			res, err := s.do(ctx, laneQuery, []request{r})
			if err != nil {
				return Result{}, err
			}
			return res[0], nil
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range files {
			if got := strings.TrimPrefix(f.Loose, dir+"/"); got != want[strings.TrimPrefix(f.Path, dir+"/")] {
				t.Errorf("%s: loose is %q", f.Path, got)
			}
		}
	})
}

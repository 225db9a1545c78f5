package main

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// bin is the service, built as its image has it.
var bin string

func TestMain(m *testing.M) {
	dir, err := os.MkdirTemp("", "jwtservice")
	if err != nil {
		panic(err)
	}
	bin = filepath.Join(dir, "jwtservice")
	cmd := exec.Command("go", "build", "-o", bin, ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	code := 1
	if out, err := cmd.CombinedOutput(); err != nil {
		fmt.Fprintf(os.Stderr, "build: %v\n%s", err, out)
	} else {
		code = m.Run()
	}
	os.RemoveAll(dir)
	os.Exit(code)
}

// TestStartup holds the ends and last words of the service under good and bad
// environments against those of the real one: testdata/startup.tsv has CASE,
// exit status (124: it ran until it was stopped) and the last lines of the log.
func TestStartup(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		path := filepath.Join(dir, name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return path
	}
	good := []string{"LIVEKIT_KEY=devkey", "LIVEKIT_SECRET=" + secret, "LIVEKIT_URL=" + liveKit, "LIVEKIT_FULL_ACCESS_HOMESERVERS=hs.test"}
	and := func(more ...string) []string { return append(append([]string{}, good...), more...) }
	environments := map[string][]string{
		"nothing set":              nil,
		"no full access list":      good[:3],
		"no url":                   {good[0], good[1], good[3]},
		"no secret":                {good[0], good[2], good[3]},
		"both bind and port":       and("LIVEKIT_JWT_BIND=:8080", "LIVEKIT_JWT_PORT=8080"),
		"key file":                 {good[2], good[3], "LIVEKIT_KEY_FILE=" + file("good", "devkey: "+secret+"\n")},
		"key file with two colons": {good[2], good[3], "LIVEKIT_KEY_FILE=" + file("colons", "devkey: a:b\n")},
		"key file missing":         {good[2], good[3], "LIVEKIT_KEY_FILE=/kf/none"},
		"from_file":                {good[2], good[3], "LIVEKIT_KEY_FROM_FILE=" + file("key", "devkey\n"), "LIVEKIT_SECRET_FROM_FILE=" + file("secret", secret+"\n")},
		"wrong redis":              and("LIVEKIT_REDIS_URL=redis://127.0.0.1:1"),
		"bad bind":                 and("LIVEKIT_JWT_BIND=nonsense"),
	}
	text, err := os.ReadFile("testdata/startup.tsv")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(text)) {
		f := strings.Split(strings.TrimSpace(line), "\t")
		name, status, words := f[0], f[1], strings.Split(f[2], " | ")
		last := strings.TrimSpace(words[len(words)-1])
		t.Run(name, func(t *testing.T) {
			env, ok := environments[name]
			if !ok {
				t.Fatal("this test does not know how the case came about")
			}
			ended, log := startUp(t, env, last, status == "rc=124")
			if want := status == "rc=1"; ended != want {
				t.Errorf("ended by itself with status 1: %t, recorded: %s\n%s", ended, status, log)
			}
			if !strings.HasSuffix(strings.TrimSpace(log), last) || strings.Contains(log, secret) {
				t.Errorf("the log does not end in %q:\n%s", last, log)
			}
		})
	}
}

// startUp runs the service until it ends or, where it is to run on, until it
// has said its last word; it tells whether it ended with status 1.
func startUp(t *testing.T, env []string, last string, runs bool) (ended bool, log string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	cmd := exec.CommandContext(ctx, bin)
	cmd.Env = append(env, "PATH=") // an empty list would mean this test's own
	var out bytes.Buffer
	cmd.Stderr = writerFunc(func(b []byte) (int, error) {
		out.Write(b)
		if runs && strings.Contains(out.String(), last) {
			cancel()
		}
		return len(b), nil
	})
	err := cmd.Run()
	if err == nil {
		t.Fatalf("ended with status 0:\n%s", &out)
	}
	log = out.String()
	if i := strings.Index(log, last); runs && i >= 0 && strings.Contains(log[i:], "address already in use") {
		// The recorded default, :8080, may be somebody else's on this machine.
		return false, log[:i+len(last)]
	}
	return cmd.ProcessState.ExitCode() == 1, log
}

type writerFunc func([]byte) (int, error)

func (f writerFunc) Write(b []byte) (int, error) { return f(b) }

package view

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/plans"
)

// openTerminal is one end of a new pseudo-terminal.
func openTerminal(t *testing.T) *os.File {
	t.Helper()
	f, err := os.OpenFile("/dev/ptmx", os.O_RDWR, 0)
	if err != nil {
		t.Skipf("there are no pseudo-terminals: %v", err)
	}
	t.Cleanup(func() { _ = f.Close() })
	return f
}

// Colours are for terminals only, and for both streams alike there is more than one
// way to forbid them.
func TestColours(t *testing.T) {
	tty := openTerminal(t)
	file, err := os.Create(t.TempDir() + "/out")
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, c := range []struct {
		name, noColor, term string
		flag                bool
		out, err            *os.File
		wantOut, wantErr    bool
	}{
		{"a terminal", "", "xterm", false, tty, tty, true, true},
		{"only the errors", "", "xterm", false, file, tty, false, true},
		{"only the results", "", "xterm", false, tty, file, true, false},
		{"NO_COLOR", "1", "xterm", false, tty, tty, false, false},
		{"TERM=dumb", "", "dumb", false, tty, tty, false, false},
		{"no TERM", "", "", false, tty, tty, true, true},
		{"--no-color", "", "xterm", true, tty, tty, false, false},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Setenv("NO_COLOR", c.noColor)
			t.Setenv("TERM", c.term)
			s := NewScreen(nil, c.out, c.err)
			s.NoColor = c.flag
			var out, errs bytes.Buffer
			s.out.Writer, s.err.Writer = &out, &errs
			if err := s.Plan(plans.Plan{}); err != nil {
				t.Fatal(err)
			}
			s.Mistakes(plans.Mistakes{{Severity: plans.SeverityError, Summary: "x"}})
			if got := sgr.Match(out.Bytes()); got != c.wantOut {
				t.Errorf("colours on standard output: %t in %q", got, &out)
			}
			if got := sgr.Match(errs.Bytes()); got != c.wantErr {
				t.Errorf("colours on standard error: %t in %q", got, &errs)
			}
		})
	}
}

// What comes from many goroutines is not mixed: under -race, the buffer shows who
// writes without the lock.
func TestScreenIsOnePieceAtATime(t *testing.T) {
	var both bytes.Buffer
	s := NewScreen(nil, &both, &both)
	const n = 50
	var g sync.WaitGroup
	for range n {
		g.Go(func() { s.Outcomes([]Row{{"x.test", "applied", "1s"}}) })
		g.Go(func() { s.Event(engine.Warned{Host: "h", Text: "a\nb"}) })
		g.Go(func() { s.Note("c\nd") })
	}
	g.Wait()
	for _, piece := range []string{"\nSITE    OUTCOME  TOOK\nx.test  applied  1s\n", "  [h] warning a\n      b\n", "note: c\nd\n"} {
		if got := strings.Count(both.String(), piece); got != n {
			t.Errorf("%q is there %d times, not %d", piece, got, n)
		}
	}
}

// An interrupt is answered although somebody is stuck with the lock.
func TestUrgentWaitsForNobody(t *testing.T) {
	var errs bytes.Buffer
	s := NewScreen(nil, nil, &errs)
	s.mu.Lock()
	s.Urgent("ended\x1b[31m")
	s.mu.Unlock()
	s.Urgent("again")
	if errs.String() != "ended\nagain\n" {
		t.Errorf("%q", &errs)
	}
}

// A failure is text for people, and the last line of JSON for programs.
func TestFail(t *testing.T) {
	err := fmt.Errorf("%w\n%w", errors.Join(fmt.Errorf("a: %w", hint.New("busy", "wait")), hint.New("gone", "log in")), errors.New("rolled back"))
	const text = "error: a: busy\nhint: wait\ngone\nhint: log in\nrolled back\n"
	for _, asJSON := range []bool{false, true} {
		var out, errs bytes.Buffer
		s := NewScreen(nil, &out, &errs)
		s.JSON = asJSON
		s.Fail(err, 3)
		if errs.String() != text {
			t.Errorf("people read %q", &errs)
		}
		want := ""
		if asJSON {
			want = `{"error":{"message":"a: busy\ngone\nrolled back","hint":"wait\nlog in","exit_code":3},"type":"error","version":1}` + "\n"
		}
		if out.String() != want {
			t.Errorf("programs read %q", &out)
		}
	}
	var out bytes.Buffer
	s := NewScreen(nil, &out, new(bytes.Buffer))
	s.JSON = true
	s.Fail(errors.New(steers), 1)
	var line struct{ Error finalError }
	if err := json.Unmarshal(out.Bytes(), &line); err != nil || line.Error.Message != steers[:len(steers)-len("\x9b31m")]+"\ufffd31m" {
		t.Errorf("%v: %q", err, &out)
	}
	wantHarmless(t, "JSON", out.String())
}

package view

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"

	"golang.org/x/term"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/rtc"
	"github.com/emdecloud/ecdeploy/plans"
)

// Screen owns the terminal: all that a person or a program reads goes through it,
// and so does what a person is asked. Its methods may be called from several
// goroutines; what one call writes is not mixed with what another one does.
type Screen struct {
	// JSON has results written as JSON, one object a line, and NoColor leaves
	// colours out. Flags set both before anything is shown.
	JSON, NoColor bool

	in       *os.File
	mu       sync.Mutex
	out, err stream
}

// stream is where something is written, and whether colours can be.
type stream struct {
	io.Writer
	color bool
}

// NewScreen asks on in, which is nil where nobody can be asked, writes results to
// out, and everything else to err. Each has colours where it is a terminal that
// knows them and the environment does not forbid it: NO_COLOR, if not empty
// (https://no-color.org), or TERM=dumb.
func NewScreen(in *os.File, out, err io.Writer) *Screen {
	allowed := os.Getenv("NO_COLOR") == "" && os.Getenv("TERM") != "dumb"
	to := func(w io.Writer) stream {
		f, ok := w.(*os.File)
		return stream{w, allowed && ok && term.IsTerminal(int(f.Fd()))}
	}
	return &Screen{in: in, out: to(out), err: to(err)}
}

// text shows something to a person.
func (s *Screen) text(to stream, show func(*textForm)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	show(newText(to, to.color && !s.NoColor))
}

// result shows something on standard output, as text or as JSON.
func (s *Screen) result(text func(*textForm), json func(*jsonForm) error) error {
	if !s.JSON {
		s.text(s.out, text)
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return json(newJSON(s.out))
}

// Plan shows what a run would do. Like all methods that return an error, it only
// does so where JSON cannot be written.
func (s *Screen) Plan(p plans.Plan) error {
	return s.result(func(t *textForm) { t.Plan(p) }, func(j *jsonForm) error { return j.Plan(p) })
}

// Report shows what was seen of a site.
func (s *Screen) Report(r rtc.Report) error {
	return s.result(func(t *textForm) { t.Report(r) }, func(j *jsonForm) error { return j.Report(r) })
}

// Explain shows what is known of causes.
func (s *Screen) Explain(es []rtc.Explanation) error {
	return s.result(func(t *textForm) { t.Explain(es) }, func(j *jsonForm) error { return j.Write("explained", es) })
}

// Event shows what happens in a run. It is an engine.Sink.
func (s *Screen) Event(e engine.Event) {
	// A closed pipe is no reason to stop half-way.
	_ = s.result(func(t *textForm) { t.Event(e) }, func(j *jsonForm) error { j.Event(e); return nil })
}

// Mistakes shows what is wrong in a plan file: text goes to standard error, JSON
// to standard output.
func (s *Screen) Mistakes(m plans.Mistakes) {
	if !s.JSON {
		s.text(s.err, func(t *textForm) { t.Mistakes(m) })
		return
	}
	_ = s.result(nil, func(j *jsonForm) error { return j.Write("mistakes", m) }) // the exit code says it, too
}

// Drift shows programs what moved since a plan was saved; people read it in the
// error that ends the run.
func (s *Screen) Drift(moved []plans.Drift) error {
	return s.result(func(*textForm) {}, func(j *jsonForm) error { return j.Write("drift", moved) })
}

// Outcomes shows people what became of sites; programs know it from the events.
func (s *Screen) Outcomes(rows []Row) {
	if s.JSON {
		return
	}
	s.text(s.out, func(t *textForm) {
		t.print("\n")
		t.Table(append([]Row{{"SITE", "OUTCOME", "TOOK"}}, rows...))
	})
}

// Print writes a line to standard output, also where results are JSON. It is for
// words of ours and of the command line: what hosts say has methods of its own.
func (s *Screen) Print(format string, args ...any) {
	s.text(s.out, func(t *textForm) { t.print(format+"\n", args...) })
}

// Say writes a line to standard error.
func (s *Screen) Say(format string, args ...any) { s.say(fmt.Sprintf(format, args...) + "\n") }

func (s *Screen) say(text string) {
	s.text(s.err, func(t *textForm) { t.print("%s", clean(text)) })
}

// Note says what is good to know.
func (s *Screen) Note(format string, args ...any) { s.Say("note: "+format, args...) }

// Trace says what happens on a connection.
func (s *Screen) Trace(format string, args ...any) { s.Say("trace: "+format, args...) }

// Warn says what went wrong without stopping anything.
func (s *Screen) Warn(err error) { s.Say("warning: %v", err) }

// Hint says what to do next.
func (s *Screen) Hint(text string) { s.Say("hint: %s", text) }

// Urgent is Say for somebody who has just interrupted the program: it does not wait
// for whoever writes now, who may be stuck on a pipe that nobody reads.
func (s *Screen) Urgent(text string) {
	if s.mu.TryLock() {
		defer s.mu.Unlock()
	}
	_, _ = io.WriteString(s.err, clean(text)+"\n") // there is nobody else to tell
}

// finalError is how a command failed, for programs.
type finalError struct {
	Message  string `json:"message"`
	Hint     string `json:"hint,omitempty"` // several are lines
	ExitCode int    `json:"exit_code"`
}

// Fail says why a command ends with this exit code: to people on standard error,
// and to programs also as the last line of JSON.
func (s *Screen) Fail(err error, exitCode int) {
	s.Say("error: %v", err)
	if !s.JSON {
		return
	}
	message, hints := hint.Split(err)
	e := finalError{message, strings.Join(hints, "\n"), exitCode}
	_ = s.result(nil, func(j *jsonForm) error { return j.Write("error", e) }) // the exit code says it, too
}

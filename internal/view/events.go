package view

import (
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/engine"
)

// Event shows what happens, a line each.
func (t *textForm) Event(e engine.Event) {
	switch e := e.(type) {
	case engine.PhaseStarted:
		t.print("%s\n", t.paint(bold, line(e.Site+": "+e.Phase)))
	case engine.Progress:
		t.print("  %s %s\n", t.host(e.Host), t.paint(dim, line(e.Text)))
	case engine.Changed:
		t.outcome(e.Host, e.Summary.Verb+" "+e.Summary.Title, e.Took, e.Err)
	case engine.Checked:
		t.outcome(e.Host, e.Name, e.Took, e.Err)
	case engine.Committed:
		t.print("  %s %s run %s is final\n", t.host(e.Host), t.paint(green, "ok"), line(e.Run))
	case engine.RolledBack:
		t.rolledBack(e)
	case engine.Calls:
		t.calls(e)
	case engine.Warned:
		t.print("  %s %s %s", t.host(e.Host), t.paint(yellow, "warning"), strings.TrimLeft(indented(clean(e.Text), "      "), " "))
	}
}

func (t *textForm) calls(e engine.Calls) {
	does := "LiveKit restarts"
	if e.Ends {
		does = "LiveKit ends"
	}
	switch {
	case e.Err != "":
		t.print("%s: %s, and how many calls that interrupts now is not known:\n%s", e.Site, does, indented(clean(e.Err), "    "))
	case e.Rooms == 0:
		t.print("%s: %s, and nobody is on a call now\n", e.Site, does)
	default:
		t.print("%s: %s\n", e.Site, t.paint(yellow, does+", which interrupts "+plural(e.Rooms, "call")+" now, with "+plural(e.People, "participant")))
	}
}

func (t *textForm) host(name string) string { return t.paint(dim, "["+line(name)+"]") }

func (t *textForm) outcome(host, what string, took time.Duration, err string) {
	if err != "" {
		t.print("  %s %s %s\n%s", t.host(host), t.paint(red, "failed"), line(what), indented(clean(err), "      "))
		return
	}
	t.print("  %s %s %s %s\n", t.host(host), t.paint(green, "ok"), line(what), t.paint(dim, "("+took.Round(10*time.Millisecond).String()+")"))
}

func (t *textForm) rolledBack(e engine.RolledBack) {
	for _, l := range e.Report {
		t.print("  %s %s\n", t.host(e.Host), line(l))
	}
	switch {
	case e.Err != "":
		t.print("  %s %s\n%s      finish it on the host with: %s\n",
			t.host(e.Host),
			t.paint(red, "rollback is not complete"),
			indented(clean(e.Err), "      "), line(e.Command))
	case e.Conflicts:
		t.print("  %s %s\n", t.host(e.Host), t.paint(yellow, "rolled back, but for what somebody else edited meanwhile (see above)"))
	default:
		t.print("  %s %s as before the run\n", t.host(e.Host), t.paint(green, "ok"))
	}
}

// Flaws shows what is wrong with something, a line each.
func (t *textForm) Flaws(flaws []string) {
	for _, f := range flaws {
		t.print("%s %s\n", t.paint(red, "not whole:"), clean(f))
	}
}

// Row is one line of a table.
type Row []string

// Table writes rows in columns; the first row is the head.
func (t *textForm) Table(rows []Row) {
	width := map[int]int{}
	for _, r := range rows {
		for i, c := range r {
			width[i] = max(width[i], len([]rune(line(c))))
		}
	}
	for n, r := range rows {
		var b strings.Builder
		for i, c := range r {
			c = line(c)
			b.WriteString(c)
			if i < len(r)-1 {
				b.WriteString(strings.Repeat(" ", width[i]-len([]rune(c))+2))
			}
		}
		text := strings.TrimRight(b.String(), " ")
		if n == 0 {
			text = t.paint(bold, text)
		}
		t.print("%s\n", text)
	}
}

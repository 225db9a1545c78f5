package view

import (
	"fmt"
	"io"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// textForm writes for a person. Screen sees to it that nobody else writes meanwhile.
type textForm struct {
	out   io.Writer
	color bool
}

// newText writes to out, with colours where color is true.
func newText(out io.Writer, color bool) *textForm { return &textForm{out: out, color: color} }

// The few colours in use (ECMA-48 SGR).
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	dim    = "2"
)

func (t *textForm) paint(code, s string) string {
	if !t.color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// print writes one piece of text; what came from hosts was cleaned before.
func (t *textForm) print(format string, args ...any) {
	_, _ = fmt.Fprintf(t.out, format, args...) // a closed terminal is no reason to stop
}

// indented puts by before every line of s.
func indented(s, by string) string {
	return host.Indent(s, by) + "\n"
}

// clean strips what could steer a terminal.
func clean(s string) string { return host.Clean(s) }

// line is s in one line: what a host says must not look like a line of ours.
func line(s string) string {
	return strings.TrimSpace(strings.NewReplacer("\n", " ", "\t", " ").Replace(clean(s)))
}

// plural is "1 host" or "2 hosts".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

package view

import (
	"fmt"
	"io"
	"strings"
	"sync"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Text writes for a person. Its methods may be called from several goroutines.
type Text struct {
	mu    sync.Mutex
	out   io.Writer
	color bool
}

// NewText writes to out, with colours where color is true.
func NewText(out io.Writer, color bool) *Text { return &Text{out: out, color: color} }

// The few colours in use (ECMA-48 SGR).
const (
	bold   = "1"
	red    = "31"
	green  = "32"
	yellow = "33"
	dim    = "2"
)

func (t *Text) paint(code, s string) string {
	if !t.color || s == "" {
		return s
	}
	return "\x1b[" + code + "m" + s + "\x1b[0m"
}

// print writes one piece of text; what came from hosts was cleaned before.
func (t *Text) print(format string, args ...any) {
	t.mu.Lock()
	defer t.mu.Unlock()
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

// plain strips what could steer a terminal from all that is written to it.
type plain struct{ to io.Writer }

// NewPlain writes to out, without colours and without anything else that is for
// a terminal. Each Write is a text of its own.
func NewPlain(out io.Writer) io.Writer { return plain{out} }

// Write implements io.Writer.
func (p plain) Write(b []byte) (int, error) {
	if _, err := io.WriteString(p.to, clean(string(b))); err != nil {
		return 0, err
	}
	return len(b), nil
}

// plural is "1 host" or "2 hosts".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

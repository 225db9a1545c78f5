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
	return by + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n"+by) + "\n"
}

// clean strips what could steer a terminal.
func clean(s string) string { return host.Clean(s) }

// plural is "1 host" or "2 hosts".
func plural(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

package view

import (
	"fmt"
	"strings"

	"github.com/emdecloud/ecdeploy/plans"
)

// Mistakes shows what is wrong in a plan file: the place, the line with a mark
// under it, and how to fix it.
func (t *textForm) Mistakes(mistakes plans.Mistakes) {
	var b strings.Builder
	errors := 0
	for _, m := range mistakes {
		code := yellow
		if m.Severity == plans.SeverityError {
			code = red
			errors++
		}
		place := m.File
		if m.Line > 0 {
			place = fmt.Sprintf("%s:%d:%d", m.File, m.Line, m.Column)
		}
		fmt.Fprintf(&b, "%s: %s %s\n", t.paint(bold, clean(place)), t.paint(code, string(m.Severity)+":"), clean(m.Summary))
		if m.Snippet != "" {
			number := fmt.Sprintf("%4d", m.Line)
			fmt.Fprintf(&b, "%s | %s\n", number, clean(m.Snippet))
			fmt.Fprintf(&b, "%s | %s\n", strings.Repeat(" ", len(number)), t.paint(code, underline(m)))
		}
		if m.Detail != "" {
			fmt.Fprintf(&b, "hint: %s\n", clean(m.Detail))
		}
		b.WriteByte('\n')
	}
	if warnings := len(mistakes) - errors; errors > 0 || warnings > 0 {
		fmt.Fprintf(&b, "%s, %s\n", plural(errors, "error"), plural(warnings, "warning"))
	}
	t.print("%s", b.String())
}

// underline marks a mistake's columns; tabs before it stay tabs.
func underline(m plans.Mistake) string {
	var b strings.Builder
	line := []rune(m.Snippet)
	for i := range max(m.Column-1, 0) {
		if i < len(line) && line[i] == '\t' {
			b.WriteByte('\t')
		} else {
			b.WriteByte(' ')
		}
	}
	b.WriteString(strings.Repeat("^", max(1, min(m.End, len(line)+1)-m.Column)))
	return b.String()
}

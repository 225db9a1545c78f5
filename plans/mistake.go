package plans

import (
	"bytes"
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
)

// Severity says whether a mistake prevents going on.
type Severity string

// The severities of mistakes.
const (
	SeverityError   Severity = "error"
	SeverityWarning Severity = "warning"
)

// Mistake is something wrong in a plan file, and how to fix it. Columns count
// characters from 1; End is the first column behind the mistake on its first
// line. Line 0 means that it has no place in the file.
type Mistake struct {
	Severity Severity `json:"severity"`
	File     string   `json:"file"`
	Line     int      `json:"line"`
	Column   int      `json:"column"`
	End      int      `json:"end"`
	Summary  string   `json:"summary"` // what is wrong
	Detail   string   `json:"detail"`  // how to fix it
	Snippet  string   `json:"snippet"` // the line, secrets masked
}

// Mistakes are all mistakes of a plan file, in the order of their places.
type Mistakes []Mistake

// HasErrors reports whether one of the mistakes is more than a warning.
func (m Mistakes) HasErrors() bool {
	return slices.ContainsFunc(m, func(x Mistake) bool { return x.Severity == SeverityError })
}

func (m Mistakes) sorted() Mistakes {
	slices.SortStableFunc(m, func(a, b Mistake) int {
		return cmp.Or(cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column), cmp.Compare(a.Summary, b.Summary))
	})
	return slices.CompactFunc(m, func(a, b Mistake) bool { return a == b })
}

// fail notes an error: what is wrong at a place, and how to fix it.
func (l *loader) fail(at hcl.Range, summary, detail string) {
	l.note(SeverityError, at, summary, detail)
}

// warn notes something that works and is likely not meant.
func (l *loader) warn(at hcl.Range, summary, detail string) {
	l.note(SeverityWarning, at, summary, detail)
}

func (l *loader) note(s Severity, at hcl.Range, summary, detail string) {
	m := Mistake{Severity: s, File: l.path, Line: at.Start.Line, Column: at.Start.Column, Summary: summary, Detail: detail}
	if m.Line > 0 {
		m.Snippet = l.snippet(at)
		m.End = at.End.Column
		if at.End.Line != at.Start.Line {
			m.End = len([]rune(m.Snippet)) + 1
		}
		m.End = max(m.End, m.Column+1)
	}
	l.mistakes = append(l.mistakes, m)
}

// diagnostics turns what hcl says into mistakes.
func (l *loader) diagnostics(ds hcl.Diagnostics) {
	for _, d := range ds {
		severity, at := SeverityError, hcl.Range{}
		if d.Severity == hcl.DiagWarning {
			severity = SeverityWarning
		}
		if d.Subject != nil {
			at = *d.Subject
		}
		summary, detail := sentence(d.Summary), d.Detail
		if call, ok := hcl.DiagnosticExtra[hclsyntax.FunctionCallDiagExtra](d); ok && call.FunctionCallError() != nil {
			summary, detail = fmt.Sprintf("%s(): %s", call.CalledFunctionName(), call.FunctionCallError()), "correct what this function is given"
		}
		l.note(severity, at, summary, detail)
	}
}

// sentence fits a heading of hcl's into a line of ours.
func sentence(s string) string {
	if s == "" {
		return s
	}
	return strings.ToLower(s[:1]) + strings.TrimSuffix(s[1:], ".")
}

var (
	// brokenSecret does in a file that is not understood, where nobody can say
	// whether there is an equals sign and where the value ends.
	brokenSecret = regexp.MustCompile(`(?i)(\w*(?:secret|token|pass|key|credential)\w*\b["']?\s*[=:]?\s*).+`)
)

// maxSnippet is the longest line that is shown, in bytes.
const maxSnippet = 500

// snippet is the line on which at begins, with credentials masked; "" for one
// that is too long to help.
func (l *loader) snippet(at hcl.Range) string {
	if at.Start.Byte > len(l.src) {
		return ""
	}
	start := bytes.LastIndexByte(l.src[:at.Start.Byte], '\n') + 1
	end := len(l.src)
	if i := bytes.IndexByte(l.src[start:], '\n'); i >= 0 {
		end = start + i
	}
	if end-start > maxSnippet {
		return ""
	}
	line := string(l.src[start:end])
	if !l.parsed {
		return l.brokenLine(line, start)
	}
	for _, s := range slices.Backward(l.secrets) {
		from, to := max(s.Start.Byte, start), min(s.End.Byte, end)
		if from < to {
			line = line[:from-start] + "***" + line[to-start:]
		}
	}
	return strings.TrimRight(line, "\r")
}

// brokenLine masks a line, which begins at start, of a file that hcl does not
// understand. In livekit_keys {} a value may go on in lines without a name.
func (l *loader) brokenLine(line string, start int) string {
	if brokenSecret.MatchString(line) {
		return brokenSecret.ReplaceAllString(line, "$1***")
	}
	before := string(l.src[:start])
	if open := strings.LastIndex(before, "livekit_keys"); open >= 0 && !strings.Contains(before[open:], "}") && strings.TrimSpace(line) != "" {
		return "***"
	}
	return line
}

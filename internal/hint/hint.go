// Package hint gives errors a line that says what to do about them. It imports
// nothing of this module, so that every package can give hints.
package hint

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// Error is an error that comes with a hint: a command or a setting that helps.
type Error struct {
	Err  error
	Hint string // without "hint: "; usually one line
}

// Error is the text of the error and the hint on a line of its own. The hint is
// part of the text because it belongs right below what it is about: where several
// errors are joined, a list of hints at the end would not say which is whose.
func (e *Error) Error() string { return e.Err.Error() + lead + e.Hint }

// Unwrap is the error without the hint.
func (e *Error) Unwrap() error { return e.Err }

const lead = "\nhint: "

// New is an error with a hint.
func New(text, hint string) error { return &Error{errors.New(text), hint} }

// Wrap gives err, which must not be nil, a hint.
func Wrap(err error, hint string) error { return &Error{err, hint} }

// Wrapf gives err, which must not be nil, a formatted hint.
func Wrapf(err error, format string, args ...any) error {
	return &Error{err, fmt.Sprintf(format, args...)}
}

// Split returns the text of err without its hints, and the hints themselves in the
// order of the text, each once. A hint stays in the text, too, where something
// between it and err changed the text, or hid the error by formatting it with %v.
func Split(err error) (text string, hints []string) {
	text = err.Error()
	all := collect(err)
	for _, h := range all {
		if !slices.Contains(hints, h) {
			hints = append(hints, h)
		}
	}
	// The longest first: a hint may be how another one begins.
	slices.SortStableFunc(all, func(a, b string) int { return cmp.Compare(len(b), len(a)) })
	for _, h := range all {
		text = strings.Replace(text, lead+h, "", 1)
	}
	return text, hints
}

// collect lists all hints in err's tree, inner ones first, as they are in the text.
func collect(err error) []string {
	var out []string
	switch e := err.(type) {
	case interface{ Unwrap() error }:
		out = collect(e.Unwrap())
	case interface{ Unwrap() []error }:
		for _, inner := range e.Unwrap() {
			out = append(out, collect(inner)...)
		}
	}
	if e, ok := err.(*Error); ok {
		out = append(out, e.Hint)
	}
	return out
}

package host

import (
	"regexp"
	"strings"
	"unicode"
)

// escapes are the control sequences of terminals: CSI, OSC, and two-character
// ones (ECMA-48).
var escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\^_])")

// Said is the last lines of what a machine said, fit to be shown within an error
// of ours. All but the first are indented: none of them can pass for a line of
// ours, such as a hint.
func Said(s string, lines int) string {
	all := strings.Split(strings.TrimSpace(Clean(s)), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n  ")
}

// Indent puts by before every line of s; line ends at the end of s go.
func Indent(s, by string) string {
	return by + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n"+by)
}

// saidLines is how many lines of a machine's words an error of ours has.
const saidLines = 12

// remoteError is an error with a machine's words in it.
type remoteError struct{ error }

// RemoteError is err, which has a machine's words in it, fit to be shown.
func RemoteError(err error) error { return remoteError{err} }

func (e remoteError) Error() string { return Said(e.error.Error(), saidLines) }

func (e remoteError) Unwrap() error { return e.error }

// Clean makes what a machine said fit to be shown: no control characters but
// newline and tab, no terminal sequences, valid UTF-8.
func Clean(s string) string {
	s = escapes.ReplaceAllString(strings.ToValidUTF8(s, "\uFFFD"), "")
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || !unicode.IsControl(r) && !unicode.Is(unicode.Bidi_Control, r) {
			return r
		}
		return -1
	}, s)
}

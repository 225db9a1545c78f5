package host

import (
	"regexp"
	"strings"
	"unicode"
)

// escapes are the control sequences of terminals: CSI, OSC, and two-character
// ones (ECMA-48).
var escapes = regexp.MustCompile("\x1b(?:\\[[0-?]*[ -/]*[@-~]|\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[@-Z\\\\^_])")

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

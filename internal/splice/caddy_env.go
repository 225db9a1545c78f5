package splice

import (
	"bytes"
	"slices"
	"strings"
)

// caddyText is a file with its environment variables filled in, and the origin
// of each byte.
type caddyText struct {
	data  []byte
	spans []caddySpan // in order
	unset []string
}

// caddySpan is a variable that was filled in: n bytes at at, for the bytes
// from off to end of the file.
type caddySpan struct{ at, n, off, end int }

// fillCaddyEnv fills in {$NAME} and {$NAME:default} as replaceEnvVars of
// caddyconfig/caddyfile/parse.go does: before anything else is read, also in
// comments, and with values that may contain anything. Without an environment
// the variables stay as {$NAME}, without their defaults, which may contain spaces,
// and their names are returned.
func fillCaddyEnv(src []byte, env map[string]string) caddyText {
	var t caddyText
	at := 0
	for {
		begin := bytes.Index(src[at:], []byte("{$"))
		if begin < 0 {
			break
		}
		begin += at
		n := bytes.IndexByte(src[begin+2:], '}')
		if n < 0 {
			break
		}
		end := begin + 2 + n + 1
		t.data = append(t.data, src[at:begin]...)
		at = end
		name, fallback, _ := strings.Cut(string(src[begin+2:end-1]), ":")
		value, ok := env[name]
		switch {
		case n == 0: // {$} is no variable
			t.data = append(t.data, src[begin:end]...)
			continue
		case env == nil:
			value = "{$" + name + "}"
			if !slices.Contains(t.unset, name) {
				t.unset = append(t.unset, name)
			}
		case !ok:
			value = fallback
		}
		t.spans = append(t.spans, caddySpan{at: len(t.data), n: len(value), off: begin, end: end})
		t.data = append(t.data, value...)
	}
	t.data = append(t.data, src[at:]...)
	return t
}

// origin is the byte range in the file that the bytes from..to of the text
// came from, and whether any of them came from a variable.
func (t caddyText) origin(from, to int) (off, end int, env bool) {
	off, end = from, to
	for _, s := range t.spans {
		grown := s.n - (s.end - s.off)
		switch {
		case s.at+s.n <= from && s.at < from:
			off -= grown
			end -= grown
		case s.at < to:
			env = true
			if from > s.at {
				off = s.off
			}
			if to < s.at+s.n {
				return off, s.end, true
			}
			end -= grown
		default:
			return off, end, env
		}
	}
	return off, end, env
}

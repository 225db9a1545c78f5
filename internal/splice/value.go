package splice

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"
)

// Pair is one entry of a Map.
type Pair struct {
	Key   string
	Value any
	Tag   string // "" for a key that is text; else its YAML tag, such as "!!bool" (only read)
}

// Map is a mapping in the order of its text. A value, here and everywhere in
// this package, is one of: nil, bool, int, *big.Int (only read, where an int
// is too small), float64, string, []any, Map, and Other (only read).
type Map []Pair

// Get returns the value of the text key, nil where it is missing or null.
func (m Map) Get(key string) any {
	v, _ := m.Lookup(key)
	return v
}

// Lookup returns the value of the text key and whether the map has it.
func (m Map) Lookup(key string) (any, bool) {
	for _, p := range m {
		if p.Key == key && p.Tag == "" {
			return p.Value, true
		}
	}
	return nil, false
}

// Other is a YAML scalar that is not of the usual types, as it was read.
type Other struct {
	Tag  string // "!!timestamp" or "!!binary"
	Text string
}

// Path leads to a value: a string steps into a mapping, an int into a list
// (the first item is 0).
type Path []any

// String writes the path for messages: listeners[0].port.
func (p Path) String() string {
	var b strings.Builder
	for i, e := range p {
		switch e := e.(type) {
		case int:
			fmt.Fprintf(&b, "[%d]", e)
		default:
			if i > 0 {
				b.WriteByte('.')
			}
			fmt.Fprint(&b, e)
		}
	}
	return b.String()
}

func (p Path) check() error {
	if len(p) == 0 {
		return fmt.Errorf("empty path")
	}
	for _, e := range p {
		switch e := e.(type) {
		case int:
			if e < 0 {
				return fmt.Errorf("path %s: negative index", p)
			}
		case string:
			if !utf8.ValidString(e) {
				return fmt.Errorf("path %q: not UTF-8", p)
			}
		default:
			return fmt.Errorf("path %s: element of type %T", p, e)
		}
	}
	return nil
}

// join returns a copy of p with more elements.
func (p Path) join(more ...any) Path {
	return append(append(Path(nil), p...), more...)
}

// wrap is value as it stands under the keys of p: {k1: {k2: value}}.
func (p Path) wrap(value any) any {
	for i := len(p) - 1; i >= 0; i-- {
		value = Map{{Key: fmt.Sprint(p[i]), Value: value}}
	}
	return value
}

// checkValue reports values that cannot be written.
func checkValue(v any) error {
	switch v := v.(type) {
	case nil, bool, int:
	case float64:
		if math.IsNaN(v) || math.IsInf(v, 0) {
			return fmt.Errorf("value %v cannot be written", v)
		}
	case string:
		if !utf8.ValidString(v) {
			return fmt.Errorf("text is not UTF-8")
		}
	case []any:
		for _, e := range v {
			if err := checkValue(e); err != nil {
				return err
			}
		}
	case Map:
		seen := map[string]bool{}
		for _, p := range v {
			if seen[p.Key] || p.Tag != "" || !utf8.ValidString(p.Key) {
				return fmt.Errorf("key %q is there twice, or is not text", p.Key)
			}
			seen[p.Key] = true
			if err := checkValue(p.Value); err != nil {
				return err
			}
		}
	default:
		return fmt.Errorf("value of type %T cannot be written", v)
	}
	return nil
}

// equal reports whether got, as read, stands for want. The order of keys does
// not count; an int stands for the float of the same size, not the other way
// round (readers that want an int refuse 10.0).
func equal(got, want any) bool {
	switch w := want.(type) {
	case nil:
		return got == nil
	case float64:
		if n, ok := got.(int); ok {
			return float64(n) == w && math.Abs(w) < 1<<53
		}
		return got == want
	case []any:
		g, ok := got.([]any)
		if !ok || len(g) != len(w) {
			return false
		}
		for i := range g {
			if !equal(g[i], w[i]) {
				return false
			}
		}
		return true
	case Map:
		g, ok := got.(Map)
		if !ok || len(g) != len(w) {
			return false
		}
		for _, p := range w {
			if v, ok := g.Lookup(p.Key); !ok || !equal(v, p.Value) {
				return false
			}
		}
		return true
	case bool, int, string:
		return got == want
	}
	return false
}

package splice

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v3"
)

// yamlWriter writes new values in the style of a document.
type yamlWriter struct {
	step, dash int // indent of a mapping and of a list in a mapping
	eol        string
}

func (d *yamlDoc) writer(off int) yamlWriter {
	return yamlWriter{step: d.step, dash: d.dash, eol: d.eol(off)}
}

// block writes v as it stands with its first byte in the given column,
// without the first line's indent and without a last line break.
func (w yamlWriter) block(v any, column int) string {
	if text, ok := inline(v); ok {
		return text
	}
	var lines []string
	switch v := v.(type) {
	case Map:
		for _, p := range v {
			lines = append(lines, w.pair(p.Key, p.Value, column))
		}
	case []any:
		for _, e := range v {
			lines = append(lines, "- "+w.block(e, column+2))
		}
	}
	return strings.Join(lines, w.eol+pad(column))
}

// pair writes `key: value` with the key in the given column.
func (w yamlWriter) pair(key string, v any, column int) string {
	if text, ok := inline(v); ok {
		return yamlString(key) + ": " + text
	}
	return yamlString(key) + ":" + w.below(v, column)
}

// below writes a collection on the lines under its key, which is in the given
// column; it starts with a line break.
func (w yamlWriter) below(v any, column int) string {
	if _, ok := v.([]any); ok {
		column += w.dash
	} else {
		column += w.step
	}
	return w.eol + pad(column) + w.block(v, column)
}

func pad(n int) string { return strings.Repeat(" ", n) }

// inline writes what has one line in any style: a scalar or an empty
// collection.
func inline(v any) (string, bool) {
	switch v := v.(type) {
	case nil:
		return "null", true
	case bool:
		return strconv.FormatBool(v), true
	case int:
		return strconv.Itoa(v), true
	case float64:
		return formatFloat(v), true
	case string:
		return yamlString(v), true
	case []any:
		return "[]", len(v) == 0
	case Map:
		return "{}", len(v) == 0
	}
	return fmt.Sprint(v), true
}

// formatFloat writes a float that YAML 1.1 and 1.2 and JSON all read as one:
// with a point, and never with an exponent.
func formatFloat(f float64) string {
	text := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(text, ".") {
		text += ".0"
	}
	return text
}

// flowYAML writes v on one line.
func flowYAML(v any) string {
	var parts []string
	switch v := v.(type) {
	case []any:
		for _, e := range v {
			parts = append(parts, flowYAML(e))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case Map:
		for _, p := range v {
			parts = append(parts, yamlString(p.Key)+": "+flowYAML(p.Value))
		}
		return "{" + strings.Join(parts, ", ") + "}"
	}
	text, _ := inline(v)
	return text
}

var plainYAML = regexp.MustCompile(`^[A-Za-z0-9_/][A-Za-z0-9_./-]*$`)

// yamlString writes text plain where YAML 1.1 and 1.2 both read it as text,
// else in double quotes.
func yamlString(text string) string {
	if plainYAML.MatchString(text) && !strings.Contains("yYnN", text) && foldTag(text) == "!!str" && !looksTyped(text) {
		return text
	}
	return quoteYAML(text)
}

var numberLike = regexp.MustCompile(`^(?:[-+]?[0-9][0-9_.]*(?:[eE][-+]?[0-9]*)?|0[xXoObB].*|[0-9]+-[0-9-]+.*)$`)

// looksTyped is wider than any YAML version's rules, so that no reader takes
// the text for a number, a date or a boolean.
func looksTyped(text string) bool {
	if numberLike.MatchString(text) {
		return true
	}
	var n yaml.Node
	err := yaml.Unmarshal([]byte(text), &n)
	return err != nil || len(n.Content) != 1 || n.Content[0].ShortTag() != "!!str"
}

// quoteYAML writes text in double quotes, on one line, with the escapes that
// YAML and JSON share, or \U for what is beyond 16 bits.
func quoteYAML(text string) string {
	var b strings.Builder
	b.WriteByte('"')
	for _, r := range text {
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case r == '\n':
			b.WriteString(`\n`)
		case r == '\t':
			b.WriteString(`\t`)
		case r == '\r':
			b.WriteString(`\r`)
		case r == utf8.RuneError, !unicode.IsPrint(r):
			if r > 0xffff {
				fmt.Fprintf(&b, `\U%08X`, r)
			} else {
				fmt.Fprintf(&b, `\u%04X`, r)
			}
		default:
			b.WriteRune(r)
		}
	}
	b.WriteByte('"')
	return b.String()
}

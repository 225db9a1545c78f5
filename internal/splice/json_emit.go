package splice

import (
	"bytes"
	"encoding/json"
	"strconv"
	"strings"
)

// jsonStyle writes new values as the text is written.
type jsonStyle struct {
	src          []byte
	eol, step    string // step is one level of indent
	colon, comma string // with the white space behind
	multiline    bool   // entries have lines of their own
}

func learnJSON(src []byte, root *jsonNode) jsonStyle {
	s := jsonStyle{src: src, eol: "\n", step: "  ", colon: ": ", comma: ", "}
	if i := bytes.IndexByte(src, '\n'); i > 0 && src[i-1] == '\r' {
		s.eol = "\r\n"
	}
	s.multiline = bytes.IndexByte(src[root.off:root.end], '\n') >= 0
	var walk func(n *jsonNode) bool
	walk = func(n *jsonNode) bool {
		if len(n.kids) > 0 {
			_, indent, ok := strings.Cut(s.gap(n, 0), "\n")
			indent = indent[strings.LastIndex(indent, "\n")+1:]
			if step, inside := strings.CutPrefix(indent, s.indentAt(n.off)); ok && inside && step != "" {
				s.step = step
				return true
			}
		}
		for _, k := range n.kids {
			if walk(k) {
				return true
			}
		}
		return false
	}
	walk(root)
	if len(root.keys) > 0 {
		s.colon = s.colonOf(root, len(root.keys)-1)
		if !strings.HasSuffix(s.colon, " ") && !s.multiline {
			s.comma = ","
		}
	}
	return s
}

// gap is the white space before entry i of n.
func (s jsonStyle) gap(n *jsonNode, i int) string {
	end := n.kids[i].off
	if n.kind == '{' {
		end = n.keys[i].off
	}
	start := end
	for bytes.IndexByte([]byte(" \t\r\n"), s.src[start-1]) >= 0 {
		start--
	}
	return string(s.src[start:end])
}

// colonOf is the colon of member i with its white space.
func (s jsonStyle) colonOf(n *jsonNode, i int) string {
	colon := string(s.src[n.keys[i].end:n.kids[i].off])
	if strings.Contains(colon, "\n") {
		return ": "
	}
	return colon
}

// indentAt is the indent of the line of off.
func (s jsonStyle) indentAt(off int) string {
	line := s.src[bytes.LastIndexByte(s.src[:off], '\n')+1 : off]
	return string(line[:len(line)-len(bytes.TrimLeft(line, " \t"))])
}

// insert adds an entry at the end of n.
func (s jsonStyle) insert(n *jsonNode, e, value any) (Edit, error) {
	if i, ok := e.(int); ok && i != len(n.kids) {
		return Edit{}, refuse("there is no array element %d", i)
	}
	last := len(n.kids) - 1
	own := s.indentAt(n.off)
	indent, lines := own+s.step, s.multiline
	lead := ""
	switch {
	case last >= 0:
		gap := s.gap(n, last)
		lines = strings.Contains(gap, "\n")
		if lines {
			indent = gap[strings.LastIndex(gap, "\n")+1:]
			lead = "," + s.eol + indent
		} else {
			indent = own
			lead = s.comma
		}
		if n.kind == '{' {
			s.colon = s.colonOf(n, last)
		}
	case lines:
		lead = s.eol + indent
	}
	var text string
	if key, ok := e.(string); ok {
		text = s.member(key, value, indent, lines)
	} else {
		text = s.write(value, indent, lines)
	}
	if last >= 0 {
		return Edit{Off: n.kids[last].end, Text: lead + text}, nil
	}
	if lines {
		text += s.eol + own
	}
	return Edit{Off: n.off + 1, Len: n.end - n.off - 2, Text: lead + text}, nil
}

func (s jsonStyle) member(key string, value any, indent string, lines bool) string {
	return quoteJSON(key) + s.colon + s.write(value, indent, lines)
}

// write is a value that begins on a line with the given indent.
func (s jsonStyle) write(v any, indent string, lines bool) string {
	var parts []string
	open, closing := "[", "]"
	switch v := v.(type) {
	case nil:
		return "null"
	case bool:
		return strconv.FormatBool(v)
	case int:
		return strconv.Itoa(v)
	case float64:
		return formatFloat(v)
	case string:
		return quoteJSON(v)
	case []any:
		for _, e := range v {
			parts = append(parts, s.write(e, indent+s.step, lines))
		}
	case Map:
		open, closing = "{", "}"
		for _, p := range v {
			parts = append(parts, s.member(p.Key, p.Value, indent+s.step, lines))
		}
	}
	if !lines || len(parts) == 0 {
		return open + strings.Join(parts, s.comma) + closing
	}
	nl := s.eol + indent + s.step
	return open + nl + strings.Join(parts, ","+nl) + s.eol + indent + closing
}

// quoteJSON writes text as a string, without the escapes for HTML.
func quoteJSON(text string) string {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	_ = enc.Encode(text) // text cannot fail
	return strings.TrimSuffix(b.String(), "\n")
}

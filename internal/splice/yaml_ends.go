package splice

import (
	"bytes"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

// skipProperties returns the offset behind the anchor and tag of n.
func (d *yamlDoc) skipProperties(n *yamlNode) int {
	at := n.off
	if n.Kind == yaml.AliasNode {
		return at
	}
	for at < len(d.src) && (d.src[at] == '&' || d.src[at] == '!') {
		for at < len(d.src) && !strings.ContainsRune(" \t\r\n,[]{}", rune(d.src[at])) {
			at++
		}
		if n.implicit() && !d.propertyFollows(at) {
			return at
		}
		at = d.skipBlank(at)
	}
	return at
}

// propertyFollows reports whether another anchor or tag stands on the line.
func (d *yamlDoc) propertyFollows(at int) bool {
	rest := bytes.TrimLeft(d.src[at:], " \t")
	return len(rest) > 0 && (rest[0] == '&' || rest[0] == '!')
}

// skipBlank returns the offset of the next byte that is no white space, line
// break or comment.
func (d *yamlDoc) skipBlank(at int) int {
	for at < len(d.src) {
		switch c := d.src[at]; {
		case c == ' ' || c == '\t' || c == '\r' || c == '\n':
			at++
		case c == '#' && (at == 0 || strings.IndexByte(" \t\n", d.src[at-1]) >= 0):
			at = d.lineEnd(at)
		default:
			return at
		}
	}
	return at
}

// endOf finds the end of a node whose children are placed; false where the
// text is not as expected.
func (d *yamlDoc) endOf(n *yamlNode) (int, bool) {
	last := n.body
	if len(n.kids) > 0 {
		last = n.kids[len(n.kids)-1].end
	}
	switch {
	case n.Kind == yaml.AliasNode:
		end := n.off + 1 + len(n.Value)
		return end, d.hasTextAt(n.off, "*"+n.Value)
	case n.Kind == yaml.ScalarNode:
		return d.scalarEnd(n)
	case n.flow():
		return d.flowEnd(n, last)
	case n.Kind == yaml.MappingNode:
		return last, d.plainKeys(n)
	default:
		return last, d.hasTextAt(n.body, "-")
	}
}

func (d *yamlDoc) hasTextAt(at int, text string) bool {
	return at <= len(d.src) && bytes.HasPrefix(d.src[at:], []byte(text))
}

// plainKeys reports whether all keys of a block mapping are `key:`, in one
// column, and none `? key`.
func (d *yamlDoc) plainKeys(n *yamlNode) bool {
	for i := 0; i < len(n.kids); i += 2 {
		k := n.kids[i]
		if k.Kind != yaml.ScalarNode || d.column(k.off) != d.column(n.kids[0].off) || d.colon(k) < 0 {
			return false
		}
		before := bytes.TrimRight(d.src[d.lineStart(k.off):k.off], " \t")
		if bytes.HasSuffix(before, []byte("?")) {
			return false
		}
	}
	return true
}

// colon is the offset of the colon behind a key; -1 where there is none on the
// line.
func (d *yamlDoc) colon(key *yamlNode) int {
	at := key.end
	for at < len(d.src) && (d.src[at] == ' ' || d.src[at] == '\t') {
		at++
	}
	if d.hasTextAt(at, ":") {
		return at
	}
	return -1
}

// flowEnd finds the bracket that closes a flow collection, behind its last
// child.
func (d *yamlDoc) flowEnd(n *yamlNode, at int) (int, bool) {
	closing := map[byte]string{'[': "]", '{': "}"}[d.at(n.body)]
	if closing == "" {
		return at, true // the `a: 1` of [a: 1] is a mapping without braces
	}
	if at == n.body {
		at++
	}
	for {
		at = d.skipBlank(at)
		if d.hasTextAt(at, closing) {
			return at + 1, true
		}
		if c := d.at(at); c != ',' && c != ':' {
			return at, false
		}
		at++
	}
}

func (d *yamlDoc) at(off int) byte {
	if off < len(d.src) {
		return d.src[off]
	}
	return 0
}

func (d *yamlDoc) scalarEnd(n *yamlNode) (int, bool) {
	switch {
	case n.Style&yaml.DoubleQuotedStyle != 0:
		return quotedEnd(d.src, n.body, '"', '\\')
	case n.Style&yaml.SingleQuotedStyle != 0:
		return quotedEnd(d.src, n.body, '\'', '\'')
	case n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		return d.blockEnd(n)
	}
	// A plain scalar may go over lines: its words are in the text, and
	// nothing but white space is between them.
	at := n.body
	for i, word := range strings.FieldsFunc(n.Value, func(r rune) bool { return strings.ContainsRune(" \t\r\n", r) }) {
		if i > 0 {
			for strings.IndexByte(" \t\r\n", d.at(at)) >= 0 && at < len(d.src) {
				at++
			}
		}
		if !d.hasTextAt(at, word) {
			return at, false
		}
		at += len(word)
	}
	return at, true
}

// quotedEnd finds the end of a quoted scalar; escape takes the next byte with
// it (” in single quotes).
func quotedEnd(src []byte, at int, quote, escape byte) (int, bool) {
	if at >= len(src) || src[at] != quote {
		return at, false
	}
	for at++; at < len(src); at++ {
		switch {
		case src[at] == escape && at+1 < len(src) && (escape != quote || src[at+1] == quote):
			at++
		case src[at] == quote:
			return at + 1, true
		}
	}
	return at, false
}

// blockEnd finds the end of the last line of a | or > scalar that is not
// blank.
func (d *yamlDoc) blockEnd(n *yamlNode) (int, bool) {
	parent := -1
	if n.up != nil {
		parent = d.column(n.up.body)
	}
	header := d.src[n.body:d.lineEnd(n.body)]
	if len(header) == 0 || header[0] != '|' && header[0] != '>' {
		return n.body, false
	}
	indent := -1
	for _, c := range header[1:min(3, len(header))] {
		if c >= '1' && c <= '9' {
			indent = max(parent, 0) + int(c-'0')
		}
	}
	end := n.body + d.headerLen(n)
	for at := d.lineEnd(n.body); at < len(d.src); {
		start := at + len(d.eol(at))
		at = d.lineEnd(start)
		line := d.src[start:at]
		spaces := len(line) - len(bytes.TrimLeft(line, " "))
		if spaces == len(line) {
			continue
		}
		if indent < 0 {
			indent = max(spaces, parent+1)
		}
		if spaces < indent || spaces == 0 && (d.hasTextAt(start, "---") || d.hasTextAt(start, "...")) {
			break
		}
		end = at
	}
	return end, true
}

// headerLen is the length of a block scalar's indicators: | or >, + or -, a
// digit.
func (d *yamlDoc) headerLen(n *yamlNode) int {
	length := 1
	for strings.IndexByte("+-123456789", d.at(n.body+length)) >= 0 {
		length++
	}
	return length
}

package splice

import (
	"bytes"
	"slices"

	yaml "go.yaml.in/yaml/v3"
)

func yamlSet(src []byte, path Path, value any) ([]Edit, error) {
	d, err := editableYAML(src)
	if err != nil {
		return nil, err
	}
	n, depth, err := d.find(path)
	if err != nil {
		return nil, err
	}
	var edits []Edit
	place := path[:depth]
	switch {
	case n == nil || n.up == nil && n.null():
		edits, err = d.fill(n, path.wrap(value).(Map))
		place = nil
	case depth < len(path) && !n.null():
		place = path[:depth+1]
		edits, err = d.insert(n, path[depth].(string), path[depth+1:].wrap(value))
	default:
		edits, err = d.replace(n, path[depth:].wrap(value))
	}
	if err != nil {
		return nil, err
	}
	return edits, d.verify(edits, place, path[len(place):].wrap(value))
}

func yamlAppend(src []byte, path Path, length int, value any) ([]Edit, error) {
	d, err := editableYAML(src)
	if err != nil {
		return nil, err
	}
	n, depth, err := d.find(path)
	switch {
	case err != nil:
		return nil, err
	case depth < len(path) || n.Kind != yaml.SequenceNode:
		return nil, refuse("%s comes from an alias or a merge key", path)
	}
	edits := d.appendItem(n, value)
	return edits, d.verify(edits, path.join(length), value)
}

// editableYAML parses a text that is to be edited.
func editableYAML(src []byte) (*yamlDoc, error) {
	d, err := parseYAML(src)
	if err != nil {
		return nil, err
	}
	if d.odd != "" {
		return nil, refuse("%s", d.odd)
	}
	return d, nil
}

// verify reads the text before and after the edits: want must be at path, and
// all else as it was.
func (d *yamlDoc) verify(edits []Edit, path Path, want any) error {
	before, after, err := d.trees(edits)
	if err != nil {
		return err
	}
	if !changedOnly(before, after, path, want) {
		return d.sideEffect()
	}
	return nil
}

func (d *yamlDoc) trees(edits []Edit) (before, after any, err error) {
	text, err := Apply(d.src, edits)
	if err != nil {
		return nil, nil, err
	}
	if before, err = yamlTree(d.src); err != nil {
		return nil, nil, err
	}
	if after, err = yamlTree(text); err != nil {
		return nil, nil, refuse("the place is written in a way that is not edited")
	}
	return before, after, nil
}

func (d *yamlDoc) sideEffect() error {
	if len(d.aliased) > 0 {
		return refuse("the edit would change other values too, by an anchor or a merge key")
	}
	return refuse("the edit would change other values too")
}

// find steps along path as far as the text goes: to the node at path[:depth].
// The node is nil where the text is empty.
func (d *yamlDoc) find(path Path) (n *yamlNode, depth int, err error) {
	n = d.root
	for n != nil && depth < len(path) && !n.null() {
		next, err := n.child(path[depth], depth == len(path)-1)
		if err != nil {
			return nil, 0, err
		}
		if next == nil {
			break
		}
		n, depth = next, depth+1
	}
	for i, e := range path[depth:] {
		if _, ok := e.(int); ok {
			return nil, 0, refuse("there is no list item %s", path[:depth+i+1])
		}
	}
	return n, depth, nil
}

// child is the value of a key or index, nil where a mapping lacks the key.
func (n *yamlNode) child(e any, last bool) (*yamlNode, error) {
	if n.Kind == yaml.AliasNode {
		return nil, refuse("line %d: the value is an alias", n.Line)
	}
	if i, ok := e.(int); ok {
		if n.Kind != yaml.SequenceNode || i >= len(n.kids) {
			return nil, refuse("line %d: there is no list item %d", n.Line, i)
		}
		return n.kids[i], nil
	}
	if n.Kind != yaml.MappingNode {
		return nil, refuse("line %d: the value is not a mapping", n.Line)
	}
	var found *yamlNode
	for i := 0; i+1 < len(n.kids); i += 2 {
		if !isKey(n.kids[i].Node, e.(string)) {
			continue
		}
		if found != nil {
			return nil, refuse("line %d: the key %s is there twice", n.kids[i].Line, e)
		}
		found = n.kids[i+1]
	}
	if found == nil && !last {
		if merged, err := lookup(n.Node, Path{e}); err != nil || merged != nil {
			return nil, refuse("line %d: the key %s comes from a merge key", n.Line, e)
		}
	}
	return found, nil
}

func (n *yamlNode) null() bool {
	return n.Kind == yaml.ScalarNode && scalarTag(n.Node) == "!!null"
}

// key is the key of a value in a mapping; nil for others.
func (n *yamlNode) key() *yamlNode {
	if n.up == nil || n.up.Kind != yaml.MappingNode {
		return nil
	}
	i := slices.Index(n.up.kids, n)
	return n.up.kids[i-i%2]
}

// fill gives a text without values its first ones.
func (d *yamlDoc) fill(root *yamlNode, m Map) ([]Edit, error) {
	if root != nil && !root.implicit() {
		return nil, refuse("the text is null")
	}
	return d.atEnd(d.writer(len(d.src)).block(m, 0), 0, 0), nil
}

// atEnd adds lines at the end of the document; after is an offset inside it.
func (d *yamlDoc) atEnd(text string, column, after int) []Edit {
	at := len(d.src)
	for _, off := range d.lines {
		if off >= after && isDocEnd(d.src[off:]) {
			at = off
			break
		}
	}
	text = pad(column) + text
	eol := d.eol(at)
	if before := bytes.TrimPrefix(d.src[:at], bom); len(before) == 0 || before[len(before)-1] == '\n' {
		return []Edit{{Off: at, Text: text + eol}}
	}
	return []Edit{{Off: at, Text: eol + text}}
}

// isDocEnd reports whether text begins with the marker that ends a document.
func isDocEnd(text []byte) bool {
	rest, ok := bytes.CutPrefix(text, []byte("..."))
	return ok && (len(rest) == 0 || bytes.IndexByte([]byte(" \t\r\n"), rest[0]) >= 0)
}

// insert adds a key that the mapping m lacks.
func (d *yamlDoc) insert(m *yamlNode, key string, value any) ([]Edit, error) {
	if m.flow() {
		name := yamlString(key)
		if len(m.kids) > 0 && m.kids[0].Style&yaml.DoubleQuotedStyle != 0 {
			name = quoteYAML(key) // the text may be JSON
		}
		return d.insertFlow(m, name+": "+flowYAML(value)), nil
	}
	column := d.column(m.kids[0].off)
	line := d.writer(m.off).pair(key, value, column)
	if m.up == nil {
		return d.atEnd(line, column, m.end), nil
	}
	at := d.lineEnd(m.end)
	if k := m.key(); k != nil && d.lineStart(k.off) != d.lineStart(m.body) {
		at = d.lineEnd(k.end)
	}
	return []Edit{{Off: at, Text: d.eol(m.off) + pad(column) + line}}, nil
}

// insertFlow adds an entry at the end of a flow collection.
func (d *yamlDoc) insertFlow(n *yamlNode, text string) []Edit {
	if len(n.kids) == 0 {
		return []Edit{{Off: n.body + 1, Text: text}}
	}
	return []Edit{{Off: n.kids[len(n.kids)-1].end, Text: ", " + text}}
}

func (d *yamlDoc) appendItem(n *yamlNode, value any) []Edit {
	if n.flow() {
		return d.insertFlow(n, flowYAML(value))
	}
	column := d.column(n.body)
	text := "- " + d.writer(n.off).block(value, column+2)
	return []Edit{{Off: d.lineEnd(n.end), Text: d.eol(n.off) + pad(column) + text}}
}

// replace writes another value in the place of n, which has a parent.
func (d *yamlDoc) replace(n *yamlNode, value any) ([]Edit, error) {
	if n.Kind != yaml.AliasNode && n.Style&yaml.TaggedStyle != 0 {
		return nil, refuse("line %d: the value has a tag", n.Line)
	}
	// A key's value counts from behind the colon, an item from its first byte.
	from, key := n.body, n.key()
	if key != nil {
		if from = d.colon(key) + 1; from == 0 {
			return nil, refuse("line %d: the key has no colon", n.Line)
		}
	}
	if len(n.kids) > 0 && bytes.IndexByte(d.src[from:n.end], '#') >= 0 {
		return nil, refuse("line %d: the value has comments inside", n.Line)
	}
	text, short := inline(value)
	if n.up.flow() {
		text, short = flowYAML(value), true
	}
	block := len(n.kids) > 0 && !n.flow()
	switch {
	case !short && key != nil:
		return d.replaceBelow(n, from, d.writer(n.off).below(value, d.column(key.off))), nil
	case n.implicit() && key != nil:
		return []Edit{{Off: from, Text: " " + text}}, nil
	case block && key != nil:
		return []Edit{{Off: from, Len: n.end - from, Text: " " + text}}, nil
	case n.implicit():
		return []Edit{{Off: n.off, Text: " " + d.writer(n.off).block(value, d.column(n.off)+1)}}, nil
	case !short:
		text = d.writer(n.off).block(value, d.column(n.body))
	}
	return []Edit{{Off: n.body, Len: n.end - n.body, Text: text}}, nil
}

// replaceBelow puts lines under a key in the place of its value, which begins
// behind from. A comment on the key's line stays there.
func (d *yamlDoc) replaceBelow(n *yamlNode, from int, text string) []Edit {
	end := max(n.end, from)
	if n.implicit() {
		end = from
	}
	line := d.lineEnd(from)
	if end >= line {
		return []Edit{{Off: from, Len: end - from, Text: text}}
	}
	edits := []Edit{{Off: line, Text: text}}
	if end > from {
		edits = append([]Edit{{Off: from, Len: end - from}}, edits...)
	}
	return edits
}

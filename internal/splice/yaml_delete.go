package splice

import (
	"bytes"
	"slices"

	yaml "go.yaml.in/yaml/v3"
)

func yamlDelete(src []byte, path Path) ([]Edit, error) {
	d, err := editableYAML(src)
	if err != nil {
		return nil, err
	}
	n, depth, err := d.find(path)
	switch {
	case err != nil:
		return nil, err
	case depth < len(path) || n == nil:
		return nil, refuse("%s comes from a merge key", path)
	}
	edits, err := d.remove(n)
	if err != nil {
		return nil, err
	}
	before, after, err := d.trees(edits)
	if err != nil {
		return nil, err
	}
	if !same(without(before, path), after) {
		return nil, d.sideEffect()
	}
	return edits, nil
}

// entry is a list item, or a key and its value.
type entry struct{ off, end int }

func (n *yamlNode) entries() []entry {
	var out []entry
	if n.Kind == yaml.SequenceNode {
		for _, k := range n.kids {
			out = append(out, entry{k.off, k.end})
		}
		return out
	}
	for i := 0; i+1 < len(n.kids); i += 2 {
		out = append(out, entry{n.kids[i].off, max(n.kids[i].end, n.kids[i+1].end)})
	}
	return out
}

// remove takes the entry of n out of its collection.
func (d *yamlDoc) remove(n *yamlNode) ([]Edit, error) {
	up := n.up
	all := up.entries()
	i := slices.Index(up.kids, n)
	if up.Kind == yaml.MappingNode {
		i /= 2
	}
	switch {
	case len(all) == 1:
		return d.empty(up)
	case up.flow() && i == len(all)-1:
		return d.removeFlow(all[i-1].end, all[i].end)
	case up.flow():
		return d.removeFlow(all[i].off, all[i+1].off)
	}
	from := all[i].off
	if up.Kind == yaml.SequenceNode {
		start := d.lineStart(from)
		dash := bytes.TrimRight(d.src[start:from], " \t")
		if n.implicit() {
			dash = bytes.TrimRight(d.src[start:d.lineEnd(from)], " \t")
		}
		if !bytes.HasSuffix(dash, []byte("-")) {
			return nil, refuse("line %d: the item is not on the line of its dash", n.Line)
		}
		from = start + len(dash) - 1
	}
	return d.removeLines(from, all[i].end)
}

// removeLines takes out the lines from and to are on.
func (d *yamlDoc) removeLines(from, to int) ([]Edit, error) {
	start, end := d.lineStart(from), d.lineEnd(max(from, to))
	if len(bytes.Trim(bytes.TrimPrefix(d.src[start:from], bom), " ")) > 0 {
		return nil, refuse("the entry begins in the middle of a line")
	}
	if start == 0 && bytes.HasPrefix(d.src, bom) {
		start = len(bom)
	}
	switch {
	case end < len(d.src):
		end += len(d.eol(end))
	case start > 0 && d.src[start-1] == '\n': // no last line break before, none after
		start = d.lineEnd(start - 1)
		if start > 0 && d.src[start-1] == '\r' {
			start--
		}
	}
	return []Edit{{Off: start, Len: end - start}}, nil
}

func (d *yamlDoc) removeFlow(from, to int) ([]Edit, error) {
	if bytes.IndexByte(d.src[from:to], '#') >= 0 {
		return nil, refuse("there is a comment inside")
	}
	return []Edit{{Off: from, Len: to - from}}, nil
}

// empty writes {} or [] for a collection.
func (d *yamlDoc) empty(n *yamlNode) ([]Edit, error) {
	text := "{}"
	if n.Kind == yaml.SequenceNode {
		text = "[]"
	}
	from := n.body
	if k := n.key(); k != nil && !n.flow() {
		from, text = d.colon(k)+1, " "+text
	}
	if bytes.IndexByte(d.src[from:n.end], '#') >= 0 {
		return nil, refuse("line %d: the value has comments inside", n.Line)
	}
	return []Edit{{Off: from, Len: n.end - from, Text: text}}, nil
}

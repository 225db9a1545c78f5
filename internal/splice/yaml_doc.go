package splice

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"

	yaml "go.yaml.in/yaml/v3"
)

// yamlDoc is a text of one YAML document with the byte ranges of its nodes.
type yamlDoc struct {
	src     []byte
	lines   []int // offset of each line's first byte
	root    *yamlNode
	aliased map[*yaml.Node]bool // nodes that an alias points to
	anchors map[string]bool
	step    int    // indent of a mapping in a mapping
	dash    int    // indent of a list in a mapping
	odd     string // why no edit of this text is safe; "" where one is
}

// yamlNode is a node of the tree and its byte range.
type yamlNode struct {
	*yaml.Node
	off  int // first byte, anchor and tag included
	body int // first byte after anchor and tag
	end  int // behind the last byte
	kids []*yamlNode
	up   *yamlNode
}

var bom = []byte("\ufeff")

// parseYAML reads src. It fails where there is not exactly one document, or
// none, that go-yaml reads.
func parseYAML(src []byte) (*yamlDoc, error) {
	d := &yamlDoc{src: src, aliased: map[*yaml.Node]bool{}, anchors: map[string]bool{}, step: -1, dash: -1}
	defer func() { d.step, d.dash = orTwo(d.step), orTwo(d.dash) }()
	if err := checkYAMLText(src); err != nil {
		return nil, err
	}
	d.lines = []int{0}
	for i := 0; i < len(src); i++ {
		switch {
		case src[i] == '\n':
			d.lines = append(d.lines, i+1)
		case src[i] == '\r' && (i+1 == len(src) || src[i+1] != '\n'):
			d.odd = "the text has line ends that are a carriage return alone"
		case bytes.HasPrefix(src[i:], []byte("\u0085")), bytes.HasPrefix(src[i:], []byte("\u2028")), bytes.HasPrefix(src[i:], []byte("\u2029")):
			d.odd = "the text has line ends that YAML versions read differently (U+0085, U+2028 or U+2029)"
		}
	}
	root, err := loadYAML(src)
	if err != nil || root == nil {
		return d, err
	}
	if d.odd == "" {
		// Positions are only needed, and only known, where an edit is safe.
		if d.root, err = d.place(root, nil); err != nil {
			return nil, err
		}
		d.learn(d.root)
		d.checkTabs()
	} else {
		d.root = bare(root)
	}
	return d, nil
}

func checkYAMLText(src []byte) error {
	if !utf8.Valid(src) || bytes.IndexByte(src, 0) >= 0 {
		return errors.New("the text is not UTF-8")
	}
	return nil
}

func orTwo(n int) int {
	if n < 0 {
		return 2
	}
	return n
}

// loadYAML returns the root node, nil for a text without a document.
func loadYAML(src []byte) (root *yaml.Node, err error) {
	defer func() {
		if r := recover(); r != nil { // go-yaml's parser panics on some texts
			root, err = nil, fmt.Errorf("the YAML parser gave up: %v", r)
		}
	}()
	dec := yaml.NewDecoder(bytes.NewReader(src))
	var doc, more yaml.Node
	if err := dec.Decode(&doc); errors.Is(err, io.EOF) {
		return nil, nil
	} else if err != nil {
		if strings.Contains(err.Error(), "unknown anchor") {
			return nil, errors.New("an alias has no anchor") // its name may be a password that begins with *
		}
		return nil, errors.New(strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if err := dec.Decode(&more); !errors.Is(err, io.EOF) {
		return nil, errors.New("the text holds more than one YAML document")
	}
	if len(doc.Content) != 1 {
		return nil, errors.New("the text is not a YAML document")
	}
	return doc.Content[0], nil
}

// bare wraps a tree without positions, for reading only.
func bare(n *yaml.Node) *yamlNode {
	out := &yamlNode{Node: n}
	for _, c := range n.Content {
		out.kids = append(out.kids, bare(c))
	}
	return out
}

// place finds the byte range of n and of all below it.
func (d *yamlDoc) place(n *yaml.Node, up *yamlNode) (*yamlNode, error) {
	out := &yamlNode{Node: n, up: up}
	if n.Alias != nil {
		d.aliased[n.Alias] = true
	}
	if n.Kind != yaml.AliasNode && n.Anchor != "" {
		if d.anchors[n.Anchor] {
			d.odd = fmt.Sprintf("line %d has an anchor that is there twice, which PyYAML refuses", n.Line)
		}
		d.anchors[n.Anchor] = true
	}
	var ok bool
	if out.off, ok = d.offset(n.Line, n.Column); !ok {
		return nil, errors.New("the YAML parser gave a place outside the text")
	}
	out.body = d.skipProperties(out)
	for _, c := range n.Content {
		kid, err := d.place(c, out)
		if err != nil {
			return nil, err
		}
		out.kids = append(out.kids, kid)
	}
	if out.end, ok = d.endOf(out); !ok {
		d.odd = fmt.Sprintf("line %d is written in a way that is not edited", n.Line)
		out.end = out.body
	}
	return out, nil
}

// checkTabs finds a tab that PyYAML refuses: one outside of comments, quotes
// and block texts.
func (d *yamlDoc) checkTabs() {
	if bytes.IndexByte(d.src, '\t') < 0 {
		return
	}
	inText := make([]bool, len(d.src))
	var mark func(n *yamlNode)
	mark = func(n *yamlNode) {
		from := n.body
		if n.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0 {
			from = d.lineEnd(from)
		}
		if n.Kind == yaml.ScalarNode && n.Style&^yaml.TaggedStyle != 0 {
			for i := from; i < n.end; i++ {
				inText[i] = true
			}
		}
		for _, k := range n.kids {
			mark(k)
		}
	}
	mark(d.root)
	comment := false
	for i, c := range d.src {
		switch {
		case c == '\n':
			comment = false
		case inText[i] || comment:
		case c == '#':
			comment = i == 0 || bytes.IndexByte([]byte(" \n"), d.src[i-1]) >= 0
		case c == '\t':
			d.odd = fmt.Sprintf("line %d has a tab where PyYAML takes none", bytes.Count(d.src[:i], []byte("\n"))+1)
			return
		}
	}
}

// offset is the byte offset of a line and column, both from 1; columns count
// characters, and a byte order mark does not count.
func (d *yamlDoc) offset(line, column int) (int, bool) {
	if line < 1 || line > len(d.lines) {
		// An empty document's value may lie behind the last line.
		return len(d.src), line == len(d.lines)+1
	}
	at := d.lines[line-1]
	if line == 1 && bytes.HasPrefix(d.src, bom) {
		at += len(bom)
	}
	for range column - 1 {
		if at >= len(d.src) {
			return at, false
		}
		_, n := utf8.DecodeRune(d.src[at:])
		at += n
	}
	return at, true
}

// column counts the characters before off in its line.
func (d *yamlDoc) column(off int) int {
	text := d.src[d.lineStart(off):off]
	return utf8.RuneCount(bytes.TrimPrefix(text, bom))
}

// lineStart is the offset of the first byte of the line that holds off.
func (d *yamlDoc) lineStart(off int) int {
	return bytes.LastIndexByte(d.src[:off], '\n') + 1
}

// lineEnd is the offset of the line break that ends the line of off, or of the
// end of the text.
func (d *yamlDoc) lineEnd(off int) int {
	at := len(d.src)
	if i := bytes.IndexByte(d.src[off:], '\n'); i >= 0 {
		at = off + i
		if at > off && d.src[at-1] == '\r' {
			at--
		}
	}
	return at
}

// eol is the line break that the text uses at off: that of its line, or of
// the first line.
func (d *yamlDoc) eol(off int) string {
	for _, at := range []int{d.lineEnd(off), d.lineEnd(0)} {
		if bytes.HasPrefix(d.src[at:], []byte("\r\n")) {
			return "\r\n"
		}
		if at < len(d.src) {
			return "\n"
		}
	}
	return "\n"
}

// learn takes the indents that the text uses from its first nested
// collections.
func (d *yamlDoc) learn(n *yamlNode) {
	if n.flow() {
		return
	}
	for i, v := range n.kids {
		if n.Kind != yaml.MappingNode || i%2 == 0 || len(v.kids) == 0 || v.flow() {
			continue
		}
		k := n.kids[i-1]
		indent := d.column(v.body) - d.column(k.off)
		switch {
		case v.Kind == yaml.MappingNode && d.step < 0 && indent > 0 && indent <= 8:
			d.step = indent
		case v.Kind == yaml.SequenceNode && d.dash < 0 && indent >= 0 && indent <= 8:
			d.dash = indent
		}
	}
	for _, v := range n.kids {
		d.learn(v)
	}
}

func (n *yamlNode) flow() bool { return n.Style&yaml.FlowStyle != 0 }

// implicit reports whether n is a null of which nothing is written.
func (n *yamlNode) implicit() bool {
	return n.Kind == yaml.ScalarNode && n.Value == "" && n.Style&^yaml.TaggedStyle == 0
}

package splice

import (
	"bytes"
	"encoding/json"
	"math"
	"strconv"
	"unicode/utf8"
)

// jsonNode is a value and its byte range.
type jsonNode struct {
	kind     byte // its first byte
	off, end int
	keys     []jsonKey // of an object
	kids     []*jsonNode
}

type jsonKey struct {
	off, end int
	text     string
}

// maxJSONDepth is far above any file that a person wrote.
const maxJSONDepth = 500

// parseJSON reads strict JSON.
func parseJSON(src []byte) (*jsonNode, error) {
	switch {
	case bytes.HasPrefix(src, bom):
		return nil, refuse("the text begins with a byte order mark, which JSON readers refuse")
	case !utf8.Valid(src):
		return nil, refuse("the text is not UTF-8")
	case len(bytes.TrimSpace(src)) == 0:
		return nil, refuse("the text is empty")
	case !json.Valid(src):
		return nil, refuse("the text is not JSON (comments and trailing commas are not)")
	}
	p := jsonParser{src: src}
	n := p.value(0)
	if p.deep {
		return nil, refuse("the text is too deeply nested")
	}
	return n, nil
}

// jsonParser finds byte ranges in a text that is known to be valid.
type jsonParser struct {
	src  []byte
	at   int
	deep bool
}

func (p *jsonParser) space() byte {
	for bytes.IndexByte([]byte(" \t\r\n"), p.src[p.at]) >= 0 {
		p.at++
	}
	return p.src[p.at]
}

func (p *jsonParser) value(depth int) *jsonNode {
	n := &jsonNode{kind: p.space(), off: p.at}
	switch n.kind {
	case '"':
		p.string()
	case '{', '[':
		if depth > maxJSONDepth {
			p.deep = true
			p.at = len(p.src) - 1
			break
		}
		p.at++
		p.entries(n, depth)
	default:
		for p.at < len(p.src) && bytes.IndexByte([]byte(" \t\r\n,]}"), p.src[p.at]) < 0 {
			p.at++
		}
	}
	n.end = p.at
	return n
}

func (p *jsonParser) entries(n *jsonNode, depth int) {
	for !p.deep {
		switch p.space() {
		case '}', ']':
			p.at++
			return
		case ',':
			p.at++
			p.space()
		}
		if n.kind == '{' {
			n.keys = append(n.keys, p.key())
		}
		n.kids = append(n.kids, p.value(depth+1))
	}
}

// key reads a key and the colon.
func (p *jsonParser) key() jsonKey {
	k := jsonKey{off: p.at}
	p.string()
	k.end = p.at
	k.text = jsonText(p.src[k.off:k.end])
	p.space()
	p.at++
	return k
}

func (p *jsonParser) string() {
	for p.at++; p.src[p.at] != '"'; p.at++ {
		if p.src[p.at] == '\\' {
			p.at++
		}
	}
	p.at++
}

func jsonText(quoted []byte) string {
	var text string
	_ = json.Unmarshal(quoted, &text) // known to be valid
	return text
}

// tree is the value of n with all its keys, duplicates too.
func (n *jsonNode) tree(src []byte) any {
	text := src[n.off:n.end]
	switch n.kind {
	case '{':
		m := make(Map, len(n.kids))
		for i, k := range n.kids {
			m[i] = Pair{Key: n.keys[i].text, Value: k.tree(src)}
		}
		return m
	case '[':
		l := make([]any, len(n.kids))
		for i, k := range n.kids {
			l[i] = k.tree(src)
		}
		return l
	case '"':
		return jsonText(text)
	case 't', 'f':
		return n.kind == 't'
	case 'n':
		return nil
	}
	if i, err := strconv.Atoi(string(text)); err == nil && string(text) != "-0" {
		return i
	}
	f, err := strconv.ParseFloat(string(text), 64)
	if err != nil {
		f = math.Inf(1)
	}
	return f
}

// lastOnly drops all but the last of duplicate keys.
func lastOnly(v any) any {
	switch v := v.(type) {
	case Map:
		out := Map{}
		place := map[string]int{}
		for _, p := range v {
			p.Value = lastOnly(p.Value)
			if i, ok := place[p.Key]; ok {
				out[i].Value = p.Value
				continue
			}
			place[p.Key] = len(out)
			out = append(out, p)
		}
		return out
	case []any:
		for i := range v {
			v[i] = lastOnly(v[i])
		}
	}
	return v
}

package splice

import (
	"errors"
	"fmt"
	"math/big"
	"strings"

	yaml "go.yaml.in/yaml/v3"
)

const (
	maxYAMLValues = 200_000 // aliases followed; guards against "billion laughs"
	maxYAMLDepth  = 200     // PyYAML, written in Python, does not go much deeper
)

// yamlReader turns nodes into values as PyYAML's SafeLoader does.
type yamlReader struct{ left, depth int }

func newYAMLReader() *yamlReader { return &yamlReader{left: maxYAMLValues} }

func decodeYAML(n *yaml.Node) (any, error) { return newYAMLReader().value(n) }

func (r *yamlReader) value(n *yaml.Node) (any, error) {
	r.left--
	if r.left < 0 || r.depth > maxYAMLDepth {
		return nil, errors.New("the text is too large or too deeply nested, or an alias holds itself")
	}
	r.depth++
	defer func() { r.depth-- }()
	switch n.Kind {
	case yaml.AliasNode:
		return r.value(n.Alias)
	case yaml.ScalarNode:
		return scalarValue(n)
	case yaml.SequenceNode:
		if n.ShortTag() != "!!seq" {
			return nil, tagError(n)
		}
		list := make([]any, 0, len(n.Content))
		for _, c := range n.Content {
			v, err := r.value(c)
			if err != nil {
				return nil, err
			}
			list = append(list, v)
		}
		return list, nil
	}
	return r.mapping(n)
}

func tagError(n *yaml.Node) error {
	return fmt.Errorf("line %d: a value with a tag of its own is not read", n.Line)
}

// scalarTag is the tag that PyYAML gives a scalar; "" where it is not known.
func scalarTag(n *yaml.Node) string {
	switch {
	case n.Style&yaml.TaggedStyle != 0:
		tag := n.ShortTag()
		if tag == "!!str" || n.Style == yaml.TaggedStyle && tag == foldTag(n.Value) {
			return tag
		}
		return ""
	case n.Style == 0:
		return foldTag(n.Value)
	}
	return "!!str"
}

func scalarValue(n *yaml.Node) (any, error) {
	tag := scalarTag(n)
	if tag == "" {
		return nil, tagError(n)
	}
	v, err := fold(tag, n.Value)
	if err != nil {
		return nil, fmt.Errorf("line %d: %w", n.Line, err)
	}
	return v, nil
}

// key is a mapping key and its identity: Python's 1, 1.0 and True are one key.
func scalarKey(n *yaml.Node) (p Pair, id string, err error) {
	for n.Kind == yaml.AliasNode {
		n = n.Alias
	}
	if n.Kind != yaml.ScalarNode {
		return p, "", fmt.Errorf("line %d: a key that is a list or a mapping", n.Line)
	}
	tag := scalarTag(n)
	if tag == "!!str" || tag == "!!value" {
		return Pair{Key: n.Value}, "s" + n.Value, nil
	}
	v, err := scalarValue(n)
	if err != nil {
		return p, "", err
	}
	p = Pair{Key: n.Value, Tag: tag}
	switch v := v.(type) {
	case bool:
		return p, map[bool]string{true: "n1", false: "n0"}[v], nil
	case int, *big.Int:
		return p, fmt.Sprintf("n%v", v), nil
	case float64:
		return p, "n" + strings.TrimSuffix(fmt.Sprintf("%.6f", v), ".000000"), nil
	}
	return p, tag + n.Value, nil
}

// mapping reads a mapping: merged entries first, own ones over them, the last
// of duplicate keys (PyYAML's flatten_mapping and construct_mapping).
func (r *yamlReader) mapping(n *yaml.Node) (any, error) {
	if n.ShortTag() != "!!map" {
		return nil, tagError(n)
	}
	pairs, err := r.pairs(n)
	if err != nil {
		return nil, err
	}
	m := Map{}
	place := map[string]int{}
	for _, kv := range pairs {
		p, id, err := scalarKey(kv[0])
		if err != nil {
			return nil, err
		}
		if p.Value, err = r.value(kv[1]); err != nil {
			return nil, err
		}
		if i, ok := place[id]; ok {
			m[i].Value = p.Value
			continue
		}
		place[id] = len(m)
		m = append(m, p)
	}
	return m, nil
}

// pairs lists the key and value nodes of a mapping, what << brings first.
func (r *yamlReader) pairs(n *yaml.Node) ([][2]*yaml.Node, error) {
	r.left--
	if r.left < 0 || r.depth > maxYAMLDepth {
		return nil, errors.New("the text is too large or too deeply nested, or an alias holds itself")
	}
	r.depth++
	defer func() { r.depth-- }()
	var merged, own [][2]*yaml.Node
	for i := 0; i+1 < len(n.Content); i += 2 {
		k, v := n.Content[i], n.Content[i+1]
		if !isMerge(k) {
			own = append(own, [2]*yaml.Node{k, v})
			continue
		}
		for v.Kind == yaml.AliasNode {
			v = v.Alias
		}
		sources := []*yaml.Node{v}
		if v.Kind == yaml.SequenceNode {
			sources = nil
			for _, s := range v.Content {
				sources = append([]*yaml.Node{s}, sources...) // the first of the list wins
			}
		}
		for _, s := range sources {
			for s.Kind == yaml.AliasNode {
				s = s.Alias
			}
			if s.Kind != yaml.MappingNode {
				return nil, fmt.Errorf("line %d: << takes a mapping or a list of mappings", v.Line)
			}
			more, err := r.pairs(s)
			if err != nil {
				return nil, err
			}
			merged = append(merged, more...)
			if r.left -= len(more); r.left < 0 {
				return nil, errors.New("the text is too large")
			}
		}
	}
	return append(merged, own...), nil
}

func isMerge(k *yaml.Node) bool {
	return k.Kind == yaml.ScalarNode && k.Style == 0 && k.Value == "<<"
}

// lookup steps from n to the node at path, through aliases and merge keys; nil
// where there is none.
func lookup(n *yaml.Node, path Path) (*yaml.Node, error) {
	r := newYAMLReader()
	for _, e := range path {
		for n.Kind == yaml.AliasNode {
			n = n.Alias
		}
		var next *yaml.Node
		switch e := e.(type) {
		case int:
			if n.Kind == yaml.SequenceNode && e < len(n.Content) {
				next = n.Content[e]
			}
		case string:
			if n.Kind != yaml.MappingNode {
				break
			}
			pairs, err := r.pairs(n)
			if err != nil {
				return nil, err
			}
			for _, kv := range pairs {
				if isKey(kv[0], e) {
					next = kv[1]
				}
			}
		}
		if next == nil {
			return nil, nil
		}
		n = next
	}
	return n, nil
}

// isKey reports whether k is the text key.
func isKey(k *yaml.Node, key string) bool {
	p, _, err := scalarKey(k)
	return err == nil && p.Tag == "" && p.Key == key
}

package splice

import (
	"errors"
	"slices"

	yaml "go.yaml.in/yaml/v3"
)

// YAMLSet makes the value at path equal value and returns the edits, nil when
// it is equal already. Mappings that are missing on the way are made; list
// items are not. value may hold nil, bool, int, float64, string, []any and
// Map. A new key goes directly under its parent's line, a new top-level key to
// the end of the text.
//
// What an edit would change elsewhere (anchors, aliases, merge keys), a text
// that is not one YAML document, a key that is there twice, a value with a tag
// or with comments inside, and whatever does not verify is a *RefusedError.
func YAMLSet(src []byte, path Path, value any) ([]Edit, error) {
	if err := checkArguments(path, value); err != nil {
		return nil, err
	}
	if now, ok, err := YAMLGet(src, path); err == nil && ok && equal(now, value) {
		return nil, nil
	}
	edits, err := yamlSet(src, path, value)
	if err != nil {
		return nil, refused(err, yamlLines(path, value))
	}
	return edits, nil
}

// YAMLAppend adds value to the list at path, unless it holds an equal item
// already: then, as after applying the edits, the answer is nil. A list that
// is missing or null is made. It refuses what YAMLSet refuses.
func YAMLAppend(src []byte, path Path, value any) ([]Edit, error) {
	if err := checkArguments(path, value); err != nil {
		return nil, err
	}
	now, _, err := YAMLGet(src, path)
	if err != nil {
		return nil, refused(err, yamlLines(path, []any{value}))
	}
	list, ok := now.([]any)
	if now == nil {
		return YAMLSet(src, path, []any{value})
	}
	if slices.ContainsFunc(list, func(item any) bool { return equal(item, value) }) {
		return nil, nil
	}
	err = refuse("%s is not a list", path)
	var edits []Edit
	if ok {
		edits, err = yamlAppend(src, path, len(list), value)
	}
	if err != nil {
		return nil, refused(err, yamlLines(path, []any{value}))
	}
	return edits, nil
}

// YAMLGet returns the value at path as PyYAML's SafeLoader reads it, and
// whether there is one: YAML 1.1 (yes, on, 0o17 as text, 010 as eight, 1:30 as
// ninety), aliases and merge keys followed, the last of duplicate keys.
// An empty document has no values.
func YAMLGet(src []byte, path Path) (value any, ok bool, err error) {
	if err := path.check(); err != nil {
		return nil, false, err
	}
	root, err := readYAML(src)
	if err != nil || root == nil {
		return nil, false, err
	}
	n, err := lookup(root, path)
	if err != nil || n == nil {
		return nil, false, err
	}
	value, err = decodeYAML(n)
	return value, err == nil, err
}

// YAMLTop returns the top-level mapping as PyYAML's SafeLoader reads it, in
// the order of the text; duplicate keys appear once, at their first place and
// with their last value. Keys that are not text appear as written. An empty
// document gives an empty Map.
func YAMLTop(src []byte) (Map, error) {
	top, err := yamlTree(src)
	if err != nil {
		return nil, err
	}
	switch top := top.(type) {
	case nil:
		return Map{}, nil
	case Map:
		return top, nil
	}
	return nil, errors.New("the text is not a mapping")
}

// yamlTree reads a whole text; nil where it is empty.
func yamlTree(src []byte) (any, error) {
	root, err := readYAML(src)
	if err != nil || root == nil {
		return nil, err
	}
	return decodeYAML(root)
}

// readYAML is the root node; nil where the text is empty.
func readYAML(src []byte) (*yaml.Node, error) {
	if err := checkYAMLText(src); err != nil {
		return nil, err
	}
	return loadYAML(src)
}

func checkArguments(path Path, value any) error {
	if err := path.check(); err != nil {
		return err
	}
	return checkValue(value)
}

// yamlLines is what a person writes to have value at path.
func yamlLines(path Path, value any) string {
	from := 0
	for i, e := range path {
		if _, ok := e.(int); ok {
			from = i + 1
		}
	}
	text := yamlWriter{step: 2, dash: 2, eol: "\n"}.block(path[from:].wrap(value), 0) + "\n"
	if from > 0 {
		return "# at " + path[:from].String() + ":\n" + text
	}
	return text
}

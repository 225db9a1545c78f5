package splice

// JSONSet makes the value at path equal value and returns the edits, nil when
// it is equal already. Objects that are missing on the way are made, at the
// end of their object and in the file's own style; array elements are not,
// but for the index one past the end, which appends. value may hold nil,
// bool, int, float64, string, []any and Map.
//
// A text that is not strict JSON (a byte order mark, comments, trailing
// commas) and a key on the path that is there twice are a *RefusedError.
func JSONSet(src []byte, path Path, value any) ([]Edit, error) {
	if err := checkArguments(path, value); err != nil {
		return nil, err
	}
	edits, err := jsonSet(src, path, value)
	if err != nil {
		return nil, refused(err, jsonLines(path, value))
	}
	return edits, nil
}

// JSONDelete removes the member or element at path; nil edits when it is not
// there.
func JSONDelete(src []byte, path Path) ([]Edit, error) {
	if err := path.check(); err != nil {
		return nil, err
	}
	root, err := parseJSON(src)
	if err != nil {
		return nil, err
	}
	up, _, err := root.find(path[:len(path)-1])
	if err != nil {
		return nil, err
	}
	i := -1
	if up != nil {
		if i, err = up.index(path[len(path)-1]); err != nil {
			return nil, err
		}
	}
	if i < 0 {
		return nil, nil
	}
	edits := []Edit{up.remove(i)}
	after, err := jsonApplied(src, edits)
	if err != nil {
		return nil, err
	}
	if !same(without(root.tree(src), path), after) {
		return nil, refuse("the edit would change other values too")
	}
	return edits, nil
}

// JSONGet returns the value at path and whether there is one. Numbers are int
// where they are written as one that fits, float64 otherwise; of duplicate
// keys the last counts, as with encoding/json and browsers.
func JSONGet(src []byte, path Path) (value any, ok bool, err error) {
	if err := path.check(); err != nil {
		return nil, false, err
	}
	root, err := parseJSON(src)
	if err != nil {
		return nil, false, err
	}
	value, ok = valueAt(lastOnly(root.tree(src)), path)
	return value, ok, nil
}

func jsonSet(src []byte, path Path, value any) ([]Edit, error) {
	root, err := parseJSON(src)
	if err != nil {
		return nil, err
	}
	n, depth, err := root.find(path)
	if err != nil {
		return nil, err
	}
	style := learnJSON(src, root)
	place, want := path, value
	var edit Edit
	if n != nil {
		if equal(n.tree(src), value) {
			return nil, nil
		}
		edit = Edit{n.off, n.end - n.off, style.write(value, style.indentAt(n.off), style.multiline)}
	} else {
		place, want = path[:depth+1], path[depth+1:].wrap(value)
		for _, e := range path[depth+1:] {
			if _, ok := e.(int); ok {
				return nil, refuse("there is no array at %s", place)
			}
		}
		up, _, _ := root.find(path[:depth])
		if edit, err = style.insert(up, path[depth], want); err != nil {
			return nil, err
		}
	}
	edits := []Edit{edit}
	after, err := jsonApplied(src, edits)
	if err != nil {
		return nil, err
	}
	if !changedOnly(root.tree(src), after, place, want) {
		return nil, refuse("the edit would change other values too")
	}
	return edits, nil
}

// jsonApplied reads the text after the edits.
func jsonApplied(src []byte, edits []Edit) (any, error) {
	text, err := Apply(src, edits)
	if err != nil {
		return nil, err
	}
	root, err := parseJSON(text)
	if err != nil {
		return nil, err
	}
	return root.tree(text), nil
}

// find steps along path: to the node there, or nil and how many elements of
// the path there are.
func (n *jsonNode) find(path Path) (*jsonNode, int, error) {
	for depth, e := range path {
		i, err := n.index(e)
		if err != nil {
			return nil, 0, err
		}
		if i < 0 {
			return nil, depth, nil
		}
		n = n.kids[i]
	}
	return n, len(path), nil
}

// index is where the entry e of n is; -1 where there is none.
func (n *jsonNode) index(e any) (int, error) {
	if i, ok := e.(int); ok {
		switch {
		case n.kind != '[':
			return 0, refuse("a value on the path is not an array")
		case i >= len(n.kids):
			return -1, nil
		}
		return i, nil
	}
	if n.kind != '{' {
		return 0, refuse("a value on the path is not an object")
	}
	found := -1
	for i, k := range n.keys {
		if k.text != e {
			continue
		}
		if found >= 0 {
			return 0, refuse("the key %s is there twice", e)
		}
		found = i
	}
	return found, nil
}

// remove takes the entry i out, with the comma and white space that belong to
// it.
func (n *jsonNode) remove(i int) Edit {
	start := func(i int) int {
		if n.kind == '{' {
			return n.keys[i].off
		}
		return n.kids[i].off
	}
	from, to := n.off+1, n.end-1
	switch {
	case i+1 < len(n.kids):
		from, to = start(i), start(i+1)
	case i > 0:
		from, to = n.kids[i-1].end, n.kids[i].end
	}
	return Edit{Off: from, Len: to - from}
}

// jsonLines is what a person writes to have value at path.
func jsonLines(path Path, value any) string {
	style := jsonStyle{eol: "\n", step: "  ", colon: ": ", comma: ", "}
	if key, ok := path[len(path)-1].(string); ok {
		text := style.member(key, value, "", true) + "\n"
		if len(path) > 1 {
			return "in " + path[:len(path)-1].String() + ": " + text
		}
		return text
	}
	return "in " + path[:len(path)-1].String() + ": " + style.write(value, "", true) + "\n"
}

package splice

import "errors"

// YAMLSet makes the value at path equal value and returns the edits, nil when
// it is equal already. Mappings that are missing on the way are made; list
// items are not. value may hold nil, bool, int, float64, string, []any and
// Map.
//
// What an edit would change elsewhere (anchors, aliases, merge keys), a text
// that is not one YAML document, a key that is there twice and whatever does
// not verify is a *RefusedError.
func YAMLSet(src []byte, path Path, value any) ([]Edit, error) {
	return nil, errors.New("not written yet")
}

// YAMLAppend adds value to the list at path, unless it holds an equal item
// already: then, as after applying the edits, the answer is nil. A list that
// is missing or null is made.
func YAMLAppend(src []byte, path Path, value any) ([]Edit, error) {
	return nil, errors.New("not written yet")
}

// YAMLDelete removes the mapping entry or list item at path; nil edits when it
// is not there. A mapping or list that loses its last entry becomes {} or [].
func YAMLDelete(src []byte, path Path) ([]Edit, error) {
	return nil, errors.New("not written yet")
}

// YAMLGet returns the value at path as PyYAML's SafeLoader reads it, and
// whether there is one: YAML 1.1 (yes, on, 0o17 as text, 010 as eight, 1:30 as
// ninety), aliases and merge keys followed, the last of duplicate keys.
// An empty document has no values.
func YAMLGet(src []byte, path Path) (value any, ok bool, err error) {
	return nil, false, errors.New("not written yet")
}

// YAMLTop returns the top-level mapping as PyYAML's SafeLoader reads it, in
// the order of the text; duplicate keys appear once, at their first place and
// with their last value. Keys that are not text appear as written. An empty
// document gives an empty Map.
func YAMLTop(src []byte) (Map, error) {
	return nil, errors.New("not written yet")
}

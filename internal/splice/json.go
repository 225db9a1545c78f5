package splice

import "errors"

// JSONSet makes the value at path equal value and returns the edits, nil when
// it is equal already. Objects that are missing on the way are made, at the
// end of their object and in the file's own style; array elements are not,
// but for the index one past the end, which appends. value may hold nil,
// bool, int, float64, string, []any and Map.
//
// A text that is not strict JSON (a byte order mark, comments, trailing
// commas) and a key on the path that is there twice are a *RefusedError.
func JSONSet(src []byte, path Path, value any) ([]Edit, error) {
	return nil, errors.New("not written yet")
}

// JSONDelete removes the member or element at path; nil edits when it is not
// there.
func JSONDelete(src []byte, path Path) ([]Edit, error) {
	return nil, errors.New("not written yet")
}

// JSONGet returns the value at path and whether there is one. Numbers are int
// where they are written as one that fits, float64 otherwise; of duplicate
// keys the last counts, as with encoding/json and browsers.
func JSONGet(src []byte, path Path) (value any, ok bool, err error) {
	return nil, false, errors.New("not written yet")
}

package splice

// Pair is one entry of a Map.
type Pair struct {
	Key   string
	Value any
}

// Map is a mapping in the order of its text. A value, here and everywhere in
// this package, is one of: nil, bool, int, *big.Int (only read, where an int
// is too small), float64, string, []any, Map, and Other (only read).
type Map []Pair

// Get returns the value of key, nil where it is missing or null.
func (m Map) Get(key string) any {
	v, _ := m.Lookup(key)
	return v
}

// Lookup returns the value of key and whether the map has it.
func (m Map) Lookup(key string) (any, bool) {
	for _, p := range m {
		if p.Key == key {
			return p.Value, true
		}
	}
	return nil, false
}

// Other is a YAML scalar that is none of the usual types, as it was read.
type Other struct {
	Tag  string // "!!timestamp" or "!!binary"
	Text string
}

// Path leads to a value: a string steps into a mapping, an int into a list
// (the first item is 0).
type Path []any

package splice

import (
	"math"
	"reflect"
	"slices"
)

// valueAt steps from v to the value at path.
func valueAt(v any, path Path) (any, bool) {
	for _, e := range path {
		ok := false
		switch e := e.(type) {
		case string:
			m, _ := v.(Map)
			v, ok = m.Lookup(e)
		case int:
			if l, _ := v.([]any); e < len(l) {
				v, ok = l[e], true
			}
		}
		if !ok {
			return nil, false
		}
	}
	return v, true
}

// without is a copy of v that lacks the entry at path, v itself where there is
// none.
func without(v any, path Path) any {
	switch e := path[0].(type) {
	case string:
		m, _ := v.(Map)
		i := slices.IndexFunc(m, func(p Pair) bool { return p.Key == e && p.Tag == "" })
		if i < 0 {
			return v
		}
		m = slices.Clone(m)
		if len(path) == 1 {
			return slices.Delete(m, i, i+1)
		}
		m[i].Value = without(m[i].Value, path[1:])
		return m
	case int:
		l, _ := v.([]any)
		if e >= len(l) {
			return v
		}
		l = slices.Clone(l)
		if len(path) == 1 {
			return slices.Delete(l, e, e+1)
		}
		l[e] = without(l[e], path[1:])
		return l
	}
	return v
}

// same reports whether two values that were read are one and the same, the
// order of keys included.
func same(a, b any) bool {
	switch a := a.(type) {
	case float64:
		b, ok := b.(float64)
		return ok && (a == b || math.IsNaN(a) && math.IsNaN(b))
	case []any:
		b, ok := b.([]any)
		return ok && slices.EqualFunc(a, b, same)
	case Map:
		b, ok := b.(Map)
		return ok && slices.EqualFunc(a, b, func(p, q Pair) bool {
			return p.Key == q.Key && p.Tag == q.Tag && same(p.Value, q.Value)
		})
	}
	return reflect.DeepEqual(a, b)
}

// changedOnly reports whether after has want at path and is as before
// everywhere else.
func changedOnly(before, after any, path Path, want any) bool {
	if len(path) == 0 {
		return equal(after, want)
	}
	got, ok := valueAt(after, path)
	return ok && equal(got, want) && same(without(before, path), without(after, path))
}

package steps

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Facts are told apart by their key, its type and their host.
func TestSharedFacts(t *testing.T) {
	number, text, other := Key[int]{"a"}, Key[string]{"a"}, Key[int]{"b"}
	var s Shared
	if v, ok := Get(s, number, "h"); ok || v != 0 || len(All(s, number)) > 0 {
		t.Error("a fact that nobody shared")
	}
	Put(&s, number, "h", 1)
	Put(&s, number, "g", 2)
	Put(&s, text, "h", "x")
	Put(&s, number, "h", 3)
	if v, ok := Get(s, number, "h"); v != 3 || !ok {
		t.Errorf("%d %t", v, ok)
	}
	if v, ok := Get(s, text, "h"); v != "x" || !ok {
		t.Errorf("%q %t", v, ok)
	}
	if _, ok := Get(s, number, "i"); ok {
		t.Error("another host has it, too")
	}
	if _, ok := Get(s, other, "h"); ok {
		t.Error("another key has it, too")
	}
	all := All(s, number)
	if d := cmp.Diff(map[string]int{"h": 3, "g": 2}, all); d != "" {
		t.Error(d)
	}
	delete(all, "h")
	if _, ok := Get(s, number, "h"); !ok {
		t.Error("the caller of All changed what is shared")
	}
}

package lab

import "testing"

func TestMountsInAnyOrder(t *testing.T) {
	const head = "== container\n/c\tid running {\"Cmd\":[\"a\"]} "
	a := parseSnapshot(head + `[{"Destination":"/b"},{"Destination":"/a"}]` + "\n")
	b := parseSnapshot(head + `[{"Destination":"/a"},{"Destination":"/b"}]` + "\n")
	if diff := Diff(a, b); diff != "" {
		t.Error(diff)
	}
	if Diff(a, parseSnapshot(head+`[{"Destination":"/a"}]`+"\n")) == "" {
		t.Error("a mount that is gone does not show")
	}
}

package plans

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/steps"
)

// comparison tells in words what differs between changes.
type comparison struct {
	// otherKeys says that HMACs differ because the credentials do, and so tell
	// nothing of the files.
	otherKeys bool
}

// changes compares what a step was to do with what it would do now.
func (c comparison) changes(before, now Changes) []string {
	var out []string
	left := slices.Clone(now)
	for _, b := range before {
		i := slices.IndexFunc(left, func(n steps.Change) bool { return alike(b, n) })
		if i < 0 {
			out = append(out, needless(b)...)
			continue
		}
		out = append(out, c.change(b, left[i])...)
		left = slices.Delete(left, i, i+1)
	}
	for _, n := range left {
		out = append(out, needed(n)...)
	}
	return out
}

// alike reports whether two changes are of the same thing.
func alike(a, b steps.Change) bool {
	if a.Kind() != b.Kind() {
		return false
	}
	switch a := a.(type) {
	case *steps.Files:
		b := b.(*steps.Files)
		return a.Title == b.Title || slices.ContainsFunc(a.Edits, func(e steps.FileEdit) bool { return editOf(b.Edits, e.Path) != nil })
	case *steps.Container:
		return a.Spec.Name == b.(*steps.Container).Spec.Name
	case *steps.Image:
		return a.Ref == b.(*steps.Image).Ref
	}
	return a.Summary().Verb == b.Summary().Verb && a.Summary().Title == b.Summary().Title
}

func editOf(edits []steps.FileEdit, path string) *steps.FileEdit {
	i := slices.IndexFunc(edits, func(e steps.FileEdit) bool { return e.Path == path })
	if i < 0 {
		return nil
	}
	return &edits[i]
}

// change compares two changes of the same thing.
func (c comparison) change(before, now steps.Change) []string {
	a, errA := steps.MarshalChange(before)
	b, errB := steps.MarshalChange(now)
	if errA == nil && errB == nil && bytes.Equal(a, b) {
		return nil
	}
	var out []string
	switch x := before.(type) {
	case *steps.Files:
		y := now.(*steps.Files)
		out = append(c.edits(x.Edits, y.Edits), dirs(x.Dirs, y.Dirs)...)
	case *steps.Container:
		y := now.(*steps.Container)
		out = append(container(x, y), append(c.edits(x.Edits, y.Edits), dirs(x.Dirs, y.Dirs)...)...)
	case *steps.Image:
		if y := now.(*steps.Image); x.Why != y.Why {
			out = append(out, fmt.Sprintf("image %s: %s; it was %s", y.Ref, y.Why, x.Why))
		} else if x.Archive != nil && y.Archive != nil && x.Archive.Config != y.Archive.Config {
			out = append(out, y.Archive.Path+" holds another image now")
		}
	}
	if len(out) == 0 {
		out = append(out, now.Summary().Title+" would be done in another way")
	}
	return out
}

// container says what moved about the container itself.
func container(x, y *steps.Container) []string {
	name := "container " + y.Spec.Name
	switch {
	case x.Replaces == "" && y.Replaces != "":
		return []string{name + " is there now; there was none"}
	case x.Replaces != "" && y.Replaces == "":
		return []string{name + " is gone"}
	}
	var out []string
	if x.Replaces != y.Replaces {
		out = append(out, fmt.Sprintf("%s was replaced by another one: %.12s is %.12s now", name, x.Replaces, y.Replaces))
	}
	for _, why := range y.Why {
		if !slices.Contains(x.Why, why) {
			out = append(out, name+": "+why)
		}
	}
	for _, why := range x.Why {
		if !slices.Contains(y.Why, why) {
			out = append(out, name+": no longer so: "+why)
		}
	}
	return out
}

// edits says which files moved.
func (c comparison) edits(before, now []steps.FileEdit) []string {
	var out []string
	for _, b := range before {
		n := editOf(now, b.Path)
		switch {
		case n == nil:
			out = append(out, needlessEdit(b))
		case b.Before == n.Before || c.otherKeys && (hmacked(b.Before) || hmacked(n.Before)):
			if !sameResult(b, *n) {
				out = append(out, "what is to be written to "+b.Path+" differs")
			}
		case b.Before == "":
			out = append(out, b.Path+" is there now; it was not when the plan was made")
		case n.Before == "":
			out = append(out, b.Path+" is gone")
		default:
			out = append(out, b.Path+" was changed since the plan was made")
		}
	}
	for _, n := range now {
		if editOf(before, n.Path) == nil {
			out = append(out, neededEdit(n))
		}
	}
	return out
}

func hmacked(digest string) bool { return strings.HasPrefix(digest, "hmac:") }

// sameResult reports whether two edits of a file that did not move write the
// same.
func sameResult(a, b steps.FileEdit) bool {
	a.Before, b.Before, a.Diff, b.Diff = "", "", "", ""
	x, errX := json.Marshal(a)
	y, errY := json.Marshal(b)
	return errX == nil && errY == nil && bytes.Equal(x, y)
}

func dirs(before, now []steps.Dir) []string {
	var out []string
	for _, d := range before {
		if !slices.Contains(now, d) {
			out = append(out, d.Path+"/ is there now as it should be")
		}
	}
	for _, d := range now {
		if !slices.Contains(before, d) {
			out = append(out, d.Path+"/ is not there any more as it should be")
		}
	}
	return out
}

func needlessEdit(e steps.FileEdit) string { return e.Path + " need not be changed any more" }
func neededEdit(e steps.FileEdit) string   { return e.Path + " must be changed now, too" }

// needless says that a change of the saved plan is no longer planned.
func needless(c steps.Change) []string {
	switch c := c.(type) {
	case *steps.Files:
		var out []string
		for _, e := range c.Edits {
			out = append(out, needlessEdit(e))
		}
		return out
	case *steps.Container:
		return []string{"container " + c.Spec.Name + " need not be made any more"}
	case *steps.Image:
		return []string{"image " + c.Ref + " is on the host now"}
	}
	return []string{"no longer needed: " + c.Summary().Verb + " " + c.Summary().Title}
}

// needed says that a change is planned now that the saved plan does not have.
func needed(c steps.Change) []string {
	switch c := c.(type) {
	case *steps.Files:
		var out []string
		for _, e := range c.Edits {
			out = append(out, neededEdit(e))
		}
		return out
	case *steps.Container:
		return []string{"container " + c.Spec.Name + " must be made now, too: " + strings.Join(c.Why, "; ")}
	case *steps.Image:
		return []string{"image " + c.Ref + " must be brought now: " + c.Why}
	}
	return []string{"needed now, too: " + c.Summary().Verb + " " + c.Summary().Title}
}

package splice

import (
	"bytes"
	"slices"
	"strings"

	"github.com/aymanbagabas/go-udiff"
)

// Undo undoes in current what made after of before, and keeps what somebody
// else changed since. Where somebody changed the very text that was put there, or
// wrote where something would have to be put back, it leaves theirs and returns
// in kept what was put there; where they took it out themselves there is nothing
// left to do.
//
// It knows text, no language: the caller has the result looked at by whatever
// reads the file.
func Undo(before, after, current []byte) (edits []Edit, kept []string) {
	theirs := Between(after, current)
	shift, next := 0, 0
	for _, o := range apart(Between(after, before), after) {
		for next < len(theirs) && theirs[next].Off+theirs[next].Len <= o.Off && !sameSpot(o, theirs[next]) {
			shift += len(theirs[next].Text) - theirs[next].Len
			next++
		}
		put := after[o.Off : o.Off+o.Len]
		if i := uniqueOffset(put, after, current); o.Text == "" && i >= 0 {
			edits = append(edits, Edit{Off: i, Len: len(put)})
			continue
		}
		if next < len(theirs) {
			t := theirs[next]
			gone := o.Text == "" && t.Text == "" && t.Off <= o.Off && t.Off+t.Len >= o.Off+o.Len
			switch {
			case gone:
				continue
			case sameSpot(o, t), t.Off < o.Off+o.Len:
				kept = append(kept, string(put))
				continue
			}
		}
		edits = append(edits, Edit{Off: o.Off + shift, Len: o.Len, Text: o.Text})
	}
	return inOrder(edits), kept
}

// apart cuts what was put there, where it is whole lines, in front of each line that
// is not indented: such are entries of their own, of which somebody may have changed
// one.
func apart(edits []Edit, after []byte) []Edit {
	var out []Edit
	for _, e := range edits {
		put := string(after[e.Off : e.Off+e.Len])
		if e.Text != "" || !strings.HasSuffix(put, "\n") || e.Off > 0 && after[e.Off-1] != '\n' {
			out = append(out, e)
			continue
		}
		from := 0
		for i := 1; i < len(put); i++ {
			if put[i-1] == '\n' && !strings.ContainsRune(" \t\r\n-}])", rune(put[i])) {
				out = append(out, Edit{Off: e.Off + from, Len: i - from})
				from = i
			}
		}
		out = append(out, Edit{Off: e.Off + from, Len: len(put) - from})
	}
	return out
}

// uniqueOffset is where text stands in current, if it stands just once there and in after:
// then it is the same, whatever became of all else. -1 where that is unknown.
func uniqueOffset(text, after, current []byte) int {
	if len(text) < 8 || bytes.Count(after, text) != 1 || bytes.Count(current, text) != 1 {
		return -1
	}
	return bytes.Index(current, text)
}

// inOrder sorts edits, and leaves out what another one has taken out already.
func inOrder(edits []Edit) []Edit {
	slices.SortStableFunc(edits, func(a, b Edit) int { return a.Off - b.Off })
	var out []Edit
	end := 0
	for _, e := range edits {
		if e.Off < end {
			continue
		}
		out = append(out, e)
		end = e.Off + e.Len
	}
	return out
}

// sameSpot reports whether both would put something at one and the same place:
// nobody can tell what comes first.
func sameSpot(o, t Edit) bool { return o.Len == 0 && t.Off <= o.Off && o.Off <= t.Off+t.Len }

// Between are edits that make after of before: of whole lines, and of a change
// within lines only the bytes that differ.
func Between(before, after []byte) []Edit {
	var out []Edit
	for _, e := range udiff.Lines(string(before), string(after)) {
		old, text, off := string(before[e.Start:e.End]), e.New, e.Start
		if old != "" && text != "" {
			head := commonPrefix(old, text)
			old, text, off = old[head:], text[head:], off+head
			tail := commonSuffix(old, text)
			old, text = old[:len(old)-tail], text[:len(text)-tail]
		}
		if old != "" || text != "" {
			out = append(out, Edit{Off: off, Len: len(old), Text: text})
		}
	}
	return out
}

func commonPrefix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[n] == b[n] {
		n++
	}
	// Not within a character: an Edit's text is valid UTF-8.
	for n > 0 && (n < len(a) && continues(a[n]) || n < len(b) && continues(b[n])) {
		n--
	}
	return n
}

func commonSuffix(a, b string) int {
	n := 0
	for n < len(a) && n < len(b) && a[len(a)-1-n] == b[len(b)-1-n] {
		n++
	}
	for n > 0 && continues(a[len(a)-n]) {
		n--
	}
	return n
}

// continues reports whether c is not the first byte of a character in UTF-8.
func continues(c byte) bool { return c&0xC0 == 0x80 }

// Lines are the lines of texts, joined, for a person to look at.
func Lines(texts []string) string {
	var b strings.Builder
	for _, t := range texts {
		b.WriteString(strings.TrimRight(t, "\r\n") + "\n")
	}
	return b.String()
}

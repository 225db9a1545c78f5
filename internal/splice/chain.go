package splice

import "slices"

// Chain runs steps one after the other, each on the text that the one before
// it left, and returns what they did together as edits of src; nil when they
// did nothing.
func Chain(src []byte, steps ...func(text []byte) ([]Edit, error)) ([]Edit, error) {
	pieces := []piece{{off: 0, n: len(src)}}
	text := src
	for _, step := range steps {
		edits, err := step(text)
		if err != nil {
			return nil, err
		}
		if text, err = Apply(text, edits); err != nil {
			return nil, err
		}
		// Backwards, so that offsets of the edits still to do stay right.
		for _, e := range slices.Backward(edits) {
			pieces = replace(pieces, e)
		}
	}
	return toEdits(src, pieces), nil
}

// piece is n bytes of the original at off, or new text where off is -1.
type piece struct {
	off, n int
	text   string
}

func (p piece) size() int {
	if p.off < 0 {
		return len(p.text)
	}
	return p.n
}

// cut splits p after n bytes.
func (p piece) cut(n int) (piece, piece) {
	if p.off < 0 {
		return piece{off: -1, text: p.text[:n]}, piece{off: -1, text: p.text[n:]}
	}
	return piece{off: p.off, n: n}, piece{off: p.off + n, n: p.n - n}
}

// replace makes an edit of the text that the pieces spell.
func replace(pieces []piece, e Edit) []piece {
	head, rest := split(pieces, e.Off)
	_, tail := split(rest, e.Len)
	return slices.Concat(head, []piece{{off: -1, text: e.Text}}, tail)
}

// split parts the pieces after n bytes.
func split(pieces []piece, n int) (head, tail []piece) {
	for i, p := range pieces {
		if n < p.size() {
			a, b := p.cut(n)
			return append(slices.Clone(pieces[:i]), a), append([]piece{b}, pieces[i+1:]...)
		}
		n -= p.size()
	}
	return pieces, nil
}

// toEdits reads the edits of src off its pieces, joined where they touch.
func toEdits(src []byte, pieces []piece) []Edit {
	var edits []Edit
	at, text := 0, ""
	flush := func(to int) {
		if string(src[at:to]) != text {
			edits = append(edits, Edit{Off: at, Len: to - at, Text: text})
		}
		text = ""
	}
	for _, p := range pieces {
		switch {
		case p.off < 0:
			text += p.text
		case p.n > 0:
			flush(p.off)
			at = p.off + p.n
		}
	}
	flush(len(src))
	return edits
}

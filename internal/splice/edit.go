package splice

import "fmt"

// Edit replaces Len bytes at byte offset Off of the original text by Text.
// Text is valid UTF-8, so that an Edit survives JSON.
type Edit struct {
	Off  int    `json:"off"`
	Len  int    `json:"len"`
	Text string `json:"text"`
}

// Apply returns src with the edits made. All offsets refer to src; the edits
// must be sorted by Off and must not overlap. src itself is not changed.
func Apply(src []byte, edits []Edit) ([]byte, error) {
	var out []byte
	at := 0
	for i, e := range edits {
		switch {
		case e.Len < 0 || e.Off < 0 || e.Off > len(src) || e.Len > len(src)-e.Off:
			return nil, fmt.Errorf("apply edit %d: range %d+%d is outside the text of %d bytes", i+1, e.Off, e.Len, len(src))
		case e.Off < at:
			return nil, fmt.Errorf("apply edit %d: offset %d overlaps the edit before it or is out of order", i+1, e.Off)
		}
		out = append(out, src[at:e.Off]...)
		out = append(out, e.Text...)
		at = e.Off + e.Len
	}
	return append(out, src[at:]...), nil
}

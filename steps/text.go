package steps

import (
	"fmt"
	"strings"
)

// Text is bytes with holes in which secrets stand as references.
type Text []Piece

// Piece is either literal text or a reference.
type Piece struct {
	Lit string `json:"lit,omitempty"`
	Ref string `json:"ref,omitempty"`
}

// Lit is a Text without references.
func Lit(s string) Text { return Text{{Lit: s}} }

// HasSecret reports whether t holds a reference.
func (t Text) HasSecret() bool {
	for _, p := range t {
		if p.Ref != "" {
			return true
		}
	}
	return false
}

// Masked is t with *** in the place of every secret.
func (t Text) Masked() string {
	var b strings.Builder
	for _, p := range t {
		if p.Ref != "" {
			b.WriteString("***")
		}
		b.WriteString(p.Lit)
	}
	return b.String()
}

// Fill puts the secrets in their places.
func (t Text) Fill(secrets Secrets) ([]byte, error) {
	var b strings.Builder
	for _, p := range t {
		v, known := secrets.Values[p.Ref]
		switch {
		case p.Ref == "":
			b.WriteString(p.Lit)
		case !known:
			return nil, fmt.Errorf("fill text: unknown reference %q", p.Ref)
		case v.IsZero():
			return nil, fmt.Errorf("fill text: there is nothing yet for %s", p.Ref)
		}
		b.WriteString(v.Reveal())
	}
	return []byte(b.String()), nil
}

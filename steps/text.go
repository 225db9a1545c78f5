package steps

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Keys are a site's LIVEKIT_KEY and LIVEKIT_SECRET; the zero value means that
// they are still to be made.
type Keys struct {
	Key    host.Secret
	Secret host.Secret
}

// IsZero reports whether the credentials are still to be made.
func (k Keys) IsZero() bool { return k.Key.IsZero() || k.Secret.IsZero() }

// Equal compares two pairs.
func (k Keys) Equal(o Keys) bool { return k.Key.Equal(o.Key) && k.Secret.Equal(o.Secret) }

// References to a site's credentials in a Text.
const (
	RefKey    = "secret:livekit/key"
	RefSecret = "secret:livekit/secret"
)

// Text is bytes with holes in which secrets stand as references.
type Text []Part

// Part is either literal text or a reference.
type Part struct {
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
func (t Text) Fill(k Keys) ([]byte, error) {
	var b strings.Builder
	for _, p := range t {
		switch p.Ref {
		case "":
			b.WriteString(p.Lit)
		case RefKey:
			b.WriteString(k.Key.Reveal())
		case RefSecret:
			b.WriteString(k.Secret.Reveal())
		default:
			return nil, fmt.Errorf("fill text: unknown reference %q", p.Ref)
		}
	}
	if t.HasSecret() && k.IsZero() {
		return nil, fmt.Errorf("fill text: the credentials are not made yet")
	}
	return []byte(b.String()), nil
}

// digest is the hash by which plans and labels know data: SHA-256 in hex, or
// an HMAC under the site's secret where data may hold one.
func digest(data []byte, secret host.Secret) string {
	if secret.IsZero() {
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	}
	m := hmac.New(sha256.New, []byte(secret.Reveal()))
	m.Write(data)
	return "hmac:" + hex.EncodeToString(m.Sum(nil))
}

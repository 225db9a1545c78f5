package steps

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"golang.org/x/crypto/scrypt"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
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
func (t Text) Fill(k livekit.Keys) ([]byte, error) {
	var b strings.Builder
	values := k.ByRef()
	for _, p := range t {
		v, known := values[p.Ref]
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

// SlowSum is a hash of data that may hold a secret which somebody chose: whoever
// has the hash and guesses pays for every guess (scrypt: about 50 ms and 16 MiB).
func SlowSum(data []byte, salt string) string {
	sum, _ := scrypt.Key(data, []byte(salt), 1<<14, 8, 1, 32) // fails for other costs only
	return hex.EncodeToString(sum)
}

// slowMark begins the digest of a file that may hold secrets where there are no
// credentials yet that would key an HMAC.
const slowMark = "scrypt:"

// secretDigest is the digest of a file of ours that may hold secrets. It is the
// same in every process, so that a plan of it can be saved; the salt is the
// file's path.
func secretDigest(path string, data []byte, keys livekit.Keys) string {
	if !keys.IsZero() {
		return digest(data, keys.Secret)
	}
	return slowMark + SlowSum(data, path)
}

// digest is the hash by which plans and labels know data: SHA-256 in hex, or
// an HMAC under the site's secret in use where data may hold one, be it that
// secret, an old one or one that is about to go.
func digest(data []byte, secret host.Secret) string {
	if secret.IsZero() {
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	}
	m := hmac.New(sha256.New, []byte(secret.Reveal()))
	m.Write(data)
	return "hmac:" + hex.EncodeToString(m.Sum(nil))
}

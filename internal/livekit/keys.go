package livekit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"regexp"

	"github.com/sethvargo/go-password/password"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Pair is a LIVEKIT_KEY and its LIVEKIT_SECRET.
type Pair struct {
	Key    host.Secret
	Secret host.Secret
}

// IsZero reports whether one of the two is missing.
func (p Pair) IsZero() bool { return p.Key.IsZero() || p.Secret.IsZero() }

// PlainPair is a pair of these two values; zero where one of them is not what a
// credential of ours looks like (PlainKey).
func PlainPair(key, secret string) Pair {
	if !PlainKey.MatchString(key) || !PlainKey.MatchString(secret) {
		return Pair{}
	}
	return Pair{Key: host.NewSecret(key), Secret: host.NewSecret(secret)}
}

// Keys are a site's LIVEKIT_KEY and LIVEKIT_SECRET; the zero value means that
// they are still to be made.
type Keys struct {
	Key    host.Secret
	Secret host.Secret
	// Old is what LiveKit accepts besides them, between the two steps of a
	// rotation.
	Old Pair
}

// Pair are the credentials in use, without old ones.
func (k Keys) Pair() Pair { return Pair{k.Key, k.Secret} }

// IsZero reports whether the credentials are still to be made.
func (k Keys) IsZero() bool { return k.Pair().IsZero() }

// Fingerprint tells one pair of credentials in use from another and reveals
// nothing of either: an HMAC-SHA256 under the secret, "hmac:" and 64 hex digits.
// It is "" where they are still to be made. Saved plans hold it.
func (k Keys) Fingerprint() string {
	if k.IsZero() {
		return ""
	}
	m := hmac.New(sha256.New, []byte(k.Secret.Reveal()))
	m.Write([]byte("LIVEKIT_KEY " + k.Key.Reveal()))
	return "hmac:" + hex.EncodeToString(m.Sum(nil))
}

// keyLength is the length of credentials that we make: letters and digits
// only, since colons, quotes and # break one or another of the files that
// carry them. 48 of 62 characters are 285 bits.
const keyLength = 48

// PlainKey is what a LIVEKIT_KEY and a LIVEKIT_SECRET must look like: what
// survives YAML without quotes, an environment file and a header.
var PlainKey = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~+/=-]*$`)

// NewKeys makes a site's LIVEKIT_KEY and LIVEKIT_SECRET, each of 48 letters and
// digits. Its error is that of the system's source of randomness.
func NewKeys() (Keys, error) {
	var k [2]string
	for i := range k {
		s, err := password.Generate(keyLength, keyLength/5, 0, false, true)
		if err != nil {
			return Keys{}, fmt.Errorf("make credentials: %w", err)
		}
		k[i] = s
	}
	return Keys{Key: host.NewSecret(k[0]), Secret: host.NewSecret(k[1])}, nil
}

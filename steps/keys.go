package steps

import (
	"fmt"

	"github.com/sethvargo/go-password/password"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// keyLength is the length of credentials that we make: letters and digits
// only, since colons, quotes and # break one or another of the files that
// carry them. 48 of 62 characters are 285 bits.
const keyLength = 48

// NewKeys makes a site's LIVEKIT_KEY and LIVEKIT_SECRET.
func NewKeys() (Keys, error) {
	var k [2]string
	for i := range k {
		s, err := password.Generate(keyLength, keyLength/5, 0, false, true)
		if err != nil {
			return Keys{}, fmt.Errorf("make credentials: %w", err)
		}
		k[i] = s
	}
	return Keys{host.NewSecret(k[0]), host.NewSecret(k[1])}, nil
}

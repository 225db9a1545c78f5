package steps

import (
	"cmp"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"maps"
	"slices"
	"strings"

	"golang.org/x/crypto/scrypt"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Source is where a secret comes from. A smaller one goes before a greater one.
type Source int

// The sources, in the order in which they are taken.
const (
	SourceGiven     Source = iota + 1 // the plan file gives it
	SourceInUse                       // found on a host, with the component that decides what is valid
	SourceElsewhere                   // found on a host, with a component that only uses it
	SourceToMake                      // nobody has it: it is still to be made
)

// Secret is a candidate for one of a site's secrets.
type Secret struct {
	Ref    string // "secret:livekit/key"
	Host   string // where it was found; "" for the plan file
	Source Source
	Value  host.Secret
}

// Choose takes the values for refs from what was offered. They belong together (a
// key and its secret), so all are of one place, which is a source on a host: the
// first that offers each of them, where several do. values are all that this place
// offers, by reference, also for other refs; they are empty for SourceToMake.
func Choose(offers []Secret, refs ...string) (values map[string]host.Secret, from Source) {
	type place struct {
		Source
		host string
	}
	at := map[place]map[string]host.Secret{}
	for _, o := range offers {
		p := place{o.Source, o.Host}
		if at[p] == nil {
			at[p] = map[string]host.Secret{}
		}
		at[p][o.Ref] = o.Value
	}
	places := slices.SortedFunc(maps.Keys(at), func(a, b place) int {
		return cmp.Or(cmp.Compare(a.Source, b.Source), cmp.Compare(a.host, b.host))
	})
	for _, p := range places {
		if !slices.ContainsFunc(refs, func(ref string) bool { return at[p][ref].IsZero() }) {
			return at[p], p.Source
		}
	}
	return nil, SourceToMake
}

// Secrets are the values of a site by reference, for a Text.
type Secrets struct {
	Values map[string]host.Secret // zero for one that is still to be made
	// Seal is the reference of the secret that keys the digests (HMAC) of bytes
	// which may hold any of them.
	Seal string
}

// IsZero reports whether they are still to be made.
func (s Secrets) IsZero() bool { return s.seal().IsZero() }

// seal is the secret that Seal refers to; zero where there is none yet.
func (s Secrets) seal() host.Secret { return s.Values[s.Seal] }

// mask hides the values in what a host holds, the longest first: one may begin
// another.
func (s Secrets) mask(text string) string {
	longest := func(a, b host.Secret) int { return len(b.Reveal()) - len(a.Reveal()) }
	for _, v := range slices.SortedFunc(maps.Values(s.Values), longest) {
		if !v.IsZero() {
			text = strings.ReplaceAll(text, v.Reveal(), "***")
		}
	}
	return text
}

// SlowSum is a hash of data that may hold a secret which somebody chose: whoever
// has the hash and guesses pays for every guess (scrypt: about 50 ms and 16 MiB).
func SlowSum(data []byte, salt string) string {
	sum, _ := scrypt.Key(data, []byte(salt), 1<<14, 8, 1, 32) // fails for other costs only
	return hex.EncodeToString(sum)
}

// Marks that begin digests other than a plain SHA-256. slowMark is for a file that
// may hold secrets where there are none yet that would key an HMAC.
const (
	sealMark = "hmac:"
	slowMark = "scrypt:"
)

// secretDigest is the digest of a file of ours that may hold secrets. It is the
// same in every process, so that a plan of it can be saved; the salt is the
// file's path.
func secretDigest(path string, data []byte, secrets Secrets) string {
	if secrets.seal().IsZero() {
		return slowMark + SlowSum(data, path)
	}
	return Digest(data, secrets)
}

// Digest is the hash by which plans and labels know data: an HMAC under the seal
// of secrets, be it that data holds one of these, an old one or one that is about
// to go; SHA-256 in hex where there is no seal, as for data without secrets.
func Digest(data []byte, secrets Secrets) string {
	seal := secrets.seal()
	if seal.IsZero() {
		sum := sha256.Sum256(data)
		return hex.EncodeToString(sum[:])
	}
	m := hmac.New(sha256.New, []byte(seal.Reveal()))
	m.Write(data)
	return sealMark + hex.EncodeToString(m.Sum(nil))
}

package steps

import (
	"fmt"
	"regexp"
	"strings"

	"github.com/sethvargo/go-password/password"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// keyLength is the length of credentials that we make: letters and digits
// only, since colons, quotes and # break one or another of the files that
// carry them. 48 of 62 characters are 285 bits.
const keyLength = 48

// PlainKey is what a LIVEKIT_KEY and a LIVEKIT_SECRET must look like: what
// survives YAML without quotes, an environment file and a header.
var PlainKey = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._~+/=-]*$`)

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
	return Keys{Key: host.NewSecret(k[0]), Secret: host.NewSecret(k[1])}, nil
}

// keyFile is LiveKit's key file: "KEY: SECRET", and in a second line the old
// pair, where there is one.
func keyFile(keys Keys) Text {
	t := Text{{Ref: RefKey}, {Lit: ": "}, {Ref: RefSecret}, {Lit: "\n"}}
	if !keys.Old.IsZero() {
		t = append(t, Piece{Ref: RefOldKey}, Piece{Lit: ": "}, Piece{Ref: RefOldSecret}, Piece{Lit: "\n"})
	}
	return t
}

// parseKeyFile reads what keyFile writes, with a person's comments and empty
// lines; zero where it is anything else.
func parseKeyFile(f host.File) Keys {
	var pairs []Pair
	for line := range strings.Lines(string(f.Data)) {
		if line = strings.TrimSpace(line); line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		k, s, _ := strings.Cut(line, ": ")
		p := plainPair(k, s)
		if p.IsZero() {
			return Keys{}
		}
		pairs = append(pairs, p)
	}
	switch {
	case len(pairs) == 1:
		return Keys{Key: pairs[0].Key, Secret: pairs[0].Secret}
	case len(pairs) == 2 && pairs[0].Key != pairs[1].Key:
		return Keys{Key: pairs[0].Key, Secret: pairs[0].Secret, Old: pairs[1]}
	}
	return Keys{}
}

// unreadKeys reports whether a key file holds something that parseKeyFile does
// not know: LiveKit reads all of YAML.
func unreadKeys(f host.File) bool {
	if !f.Exists || !parseKeyFile(f).IsZero() {
		return false
	}
	for line := range strings.Lines(string(f.Data)) {
		if line = strings.TrimSpace(line); line != "" && !strings.HasPrefix(line, "#") {
			return true
		}
	}
	return false
}

// authKeys are the credentials in the JWT service's two files.
func authKeys(key, secret host.File) Keys {
	p := plainPair(strings.TrimSpace(string(key.Data)), strings.TrimSpace(string(secret.Data)))
	return Keys{Key: p.Key, Secret: p.Secret}
}

// plainPair is zero where one of both is not what a credential of ours looks like.
func plainPair(key, secret string) Pair {
	if !PlainKey.MatchString(key) || !PlainKey.MatchString(secret) {
		return Pair{}
	}
	return Pair{host.NewSecret(key), host.NewSecret(secret)}
}

// whyKeys says what becomes of the credentials that a component holds; nothing
// where they stay.
func whyKeys(held, keys Keys) []string {
	switch {
	case keys.IsZero():
		return []string{"credentials: LIVEKIT_KEY and LIVEKIT_SECRET are made new"}
	case held.IsZero():
		return nil
	case held.Pair() != keys.Pair():
		return []string{"credentials: LIVEKIT_KEY and LIVEKIT_SECRET change"}
	case !held.Old.IsZero() && keys.Old.IsZero():
		return []string{"credentials: the old LIVEKIT_KEY goes"}
	}
	return nil
}

// keyFindings says what the credentials mean for people on calls. Tokens of the
// JWT service are good for an hour; but LiveKit renews those of people on calls
// every five minutes, with any one of its keys (livekit v1.13.5,
// pkg/service/roommanager.go, getFirstKeyPair), so that some have one of the old
// key for as long as LiveKit has it.
func keyFindings(held, keys Keys) []Finding {
	switch {
	case !keys.Old.IsZero():
		return []Finding{{Note, "LiveKit accepts the old LIVEKIT_KEY, too, so that tokens made with it stay good",
			"an hour later, while nobody is on a call: ecdeploy secrets rotate --finish, which restarts LiveKit once more"}}
	case held.IsZero():
		return nil
	case held.Pair() != keys.Pair():
		return []Finding{{Warning, "LIVEKIT_KEY and LIVEKIT_SECRET change at once: all tokens made before are refused, and people on calls have to join again",
			"with overlap: ecdeploy secrets rotate"}}
	case !held.Old.IsZero():
		return []Finding{{Warning, "tokens made with the old LIVEKIT_KEY are refused, and people on calls may have to join again: LiveKit has renewed their tokens with any one of its keys",
			"do this while nobody is on a call"}}
	}
	return nil
}

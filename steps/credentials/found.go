package credentials

import (
	"maps"
	"slices"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// What the steps of LiveKit and of the JWT service share besides candidates.
var (
	// Issued is the pair that the JWT service makes tokens with.
	Issued = steps.Key[livekit.Pair]{Name: "the pair in the JWT service's files"}
	// Unread is the path of LiveKit's key file, where LiveKit may accept pairs
	// in it that are not known.
	Unread = steps.Key[string]{Name: "LiveKit's key file that is not understood"}
)

// OffersInUse are the candidates in LiveKit's key file: the pair in use, and an old
// one that is accepted, too.
func OffersInUse(on string, keys host.File) []steps.Secret {
	return keyOffers(livekit.ParseKeyFile(keys.Data), on, steps.SourceInUse)
}

// OffersElsewhere are the candidates in the JWT service's files.
func OffersElsewhere(on string, key, secret host.File) []steps.Secret {
	p := PairOf(key, secret)
	return keyOffers(livekit.Keys{Key: p.Key, Secret: p.Secret}, on, steps.SourceElsewhere)
}

func keyOffers(keys livekit.Keys, on string, from steps.Source) []steps.Secret {
	var out []steps.Secret
	for ref, v := range keys.ByRef() {
		if !v.IsZero() {
			out = append(out, steps.Secret{Ref: ref, Host: on, Source: from, Value: v})
		}
	}
	return out
}

// Found are the credentials for LiveKit that the hosts of a site hold.
type Found struct {
	Keys   livekit.Keys // in use, by LiveKit's key file, else by the JWT service's files; zero for none
	Issues livekit.Pair // those that the JWT service makes tokens with; zero for none
	Unread string       // LiveKit's key file, where LiveKit may accept pairs in it that are not known
}

// Find judges what the steps of a site shared.
func Find(s steps.Shared) Found {
	return Found{Keys: chooseKeys(s.Offers), Issues: onlyValue(steps.All(s, Issued)), Unread: onlyValue(steps.All(s, Unread))}
}

// onlyValue is the value of the one host that has it; zero for none.
func onlyValue[T any](byHost map[string]T) (v T) {
	for _, name := range slices.Sorted(maps.Keys(byHost)) {
		return byHost[name]
	}
	return v
}

// chooseKeys takes the credentials of a site from what was offered: a pair, and
// with it an old one where the same place has one.
func chooseKeys(offers []steps.Secret) livekit.Keys {
	values, _ := steps.Choose(offers, livekit.RefKey, livekit.RefSecret)
	return livekit.KeysByRef(values)
}

// Keep are the credentials that a plan keeps: those that the plan file gives, else
// those on the hosts. given is zero where it gives none. An old pair stays as long
// as the pair in use does; and in a rotation one can go back to it without anybody
// noticing, since LiveKit accepts both.
func (f Found) Keep(given livekit.Keys) livekit.Keys {
	keys := chooseKeys(slices.Concat(keyOffers(given, "", steps.SourceGiven), keyOffers(f.Keys, "", steps.SourceInUse)))
	switch keys.Pair() {
	case f.Keys.Pair():
		return f.Keys
	case f.Keys.Old:
		keys.Old = f.Keys.Pair()
	}
	return keys
}

// Secrets are a site's credentials as its changes refer to them. The secret in
// use seals digests.
func Secrets(keys livekit.Keys) steps.Secrets {
	return steps.Secrets{Values: keys.ByRef(), Seal: livekit.RefSecret}
}

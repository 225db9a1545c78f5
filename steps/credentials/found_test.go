package credentials

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// A key file that we write is one that we read.
func TestKeyFile(t *testing.T) {
	for _, keys := range []livekit.Keys{keyed("a", ""), keyed("a", "b")} {
		data, err := File(keys).Fill(Secrets(keys))
		if err != nil || livekit.ParseKeyFile(data) != keys {
			t.Errorf("a file that we wrote is not read: %v\n%s", err, data)
		}
	}
}

// Which credentials a plan keeps by what the plan file gives: an old pair only
// where LiveKit accepts it today.
func TestKeepKeys(t *testing.T) {
	for _, c := range []struct {
		name              string
		sfu, given        livekit.Keys
		auth              livekit.Pair
		want, wantedFound livekit.Keys
	}{
		{name: "a first deploy"},
		{name: "given, a first deploy", given: keyed("a", ""), want: keyed("a", "")},
		{name: "a key file that went", auth: keyed("a", "").Pair(), want: keyed("a", ""), wantedFound: keyed("a", "")},
		{name: "in a rotation that was interrupted", sfu: keyed("b", "a"), auth: keyed("a", "").Pair(), want: keyed("b", "a"), wantedFound: keyed("b", "a")},
		{name: "given as in use, in a rotation", sfu: keyed("b", "a"), given: keyed("b", ""), want: keyed("b", "a"), wantedFound: keyed("b", "a")},
		{name: "the old ones given", sfu: keyed("b", "a"), given: keyed("a", ""), want: keyed("a", "b"), wantedFound: keyed("b", "a")},
		{name: "others given", sfu: keyed("b", "a"), given: keyed("c", ""), want: keyed("c", ""), wantedFound: keyed("b", "a")},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := func(text string) host.File { return host.File{Exists: true, Data: []byte(text)} }
			var keys host.File
			if !c.sfu.IsZero() {
				data, err := File(c.sfu).Fill(Secrets(c.sfu))
				if err != nil {
					t.Fatal(err)
				}
				keys = file(string(data))
			}
			s := steps.Shared{Offers: OffersElsewhere("x", file(c.auth.Key.Reveal()+"\n"), file(c.auth.Secret.Reveal()+"\n"))}
			s.Offers = append(s.Offers, OffersInUse("y", keys)...)
			if got := Find(s).Keep(c.given); got != c.want {
				t.Error("other credentials than wanted")
			}
			if got := Find(s); got != (Found{Keys: c.wantedFound}) { // no step shared what the JWT service issues
				t.Error("other credentials are found")
			}
		})
	}
}

// keyed are credentials that begin with a word, and an old pair, where one is named.
func keyed(key, old string) livekit.Keys {
	pair := func(word string) livekit.Pair {
		return livekit.Pair{Key: host.NewSecret(word + strings.Repeat("K", 47)), Secret: host.NewSecret(word + strings.Repeat("S", 47))}
	}
	k := livekit.Keys{Key: pair(key).Key, Secret: pair(key).Secret}
	if old != "" {
		k.Old = pair(old)
	}
	return k
}

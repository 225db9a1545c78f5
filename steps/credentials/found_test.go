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
	for _, keys := range []livekit.Keys{makeKeys("a", ""), makeKeys("a", "b")} {
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
		{name: "given, a first deploy", given: makeKeys("a", ""), want: makeKeys("a", "")},
		{name: "a key file that went", auth: makeKeys("a", "").Pair(), want: makeKeys("a", ""), wantedFound: makeKeys("a", "")},
		{name: "in a rotation that was interrupted", sfu: makeKeys("b", "a"), auth: makeKeys("a", "").Pair(), want: makeKeys("b", "a"), wantedFound: makeKeys("b", "a")},
		{name: "given as in use, in a rotation", sfu: makeKeys("b", "a"), given: makeKeys("b", ""), want: makeKeys("b", "a"), wantedFound: makeKeys("b", "a")},
		{name: "the old ones given", sfu: makeKeys("b", "a"), given: makeKeys("a", ""), want: makeKeys("a", "b"), wantedFound: makeKeys("b", "a")},
		{name: "others given", sfu: makeKeys("b", "a"), given: makeKeys("c", ""), want: makeKeys("c", ""), wantedFound: makeKeys("b", "a")},
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

// makeKeys are credentials that begin with a word, and an old pair, where one is named.
func makeKeys(key, old string) livekit.Keys {
	pair := func(word string) livekit.Pair {
		return livekit.Pair{Key: host.NewSecret(word + strings.Repeat("K", 47)), Secret: host.NewSecret(word + strings.Repeat("S", 47))}
	}
	k := livekit.Keys{Key: pair(key).Key, Secret: pair(key).Secret}
	if old != "" {
		k.Old = pair(old)
	}
	return k
}

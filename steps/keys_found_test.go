package steps

import (
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
)

// A key file that we write is one that we read.
func TestKeyFile(t *testing.T) {
	for _, keys := range []livekit.Keys{Keyed("a", ""), Keyed("a", "b")} {
		data, err := keyFile(keys).Fill(KeySecrets(keys))
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
		{name: "given, a first deploy", given: Keyed("a", ""), want: Keyed("a", "")},
		{name: "a key file that went", auth: Keyed("a", "").Pair(), want: Keyed("a", ""), wantedFound: Keyed("a", "")},
		{name: "in a rotation that was interrupted", sfu: Keyed("b", "a"), auth: Keyed("a", "").Pair(), want: Keyed("b", "a"), wantedFound: Keyed("b", "a")},
		{name: "given as in use, in a rotation", sfu: Keyed("b", "a"), given: Keyed("b", ""), want: Keyed("b", "a"), wantedFound: Keyed("b", "a")},
		{name: "the old ones given", sfu: Keyed("b", "a"), given: Keyed("a", ""), want: Keyed("a", "b"), wantedFound: Keyed("b", "a")},
		{name: "others given", sfu: Keyed("b", "a"), given: Keyed("c", ""), want: Keyed("c", ""), wantedFound: Keyed("b", "a")},
	} {
		t.Run(c.name, func(t *testing.T) {
			file := func(text string) host.File { return host.File{Exists: true, Data: []byte(text)} }
			var keys host.File
			if !c.sfu.IsZero() {
				data, err := keyFile(c.sfu).Fill(KeySecrets(c.sfu))
				if err != nil {
					t.Fatal(err)
				}
				keys = file(string(data))
			}
			s := Shared{Offers: authOffers("x", file(c.auth.Key.Reveal()+"\n"), file(c.auth.Secret.Reveal()+"\n"))}
			s.Offers = append(s.Offers, sfuOffers("y", keys)...)
			if got := FindKeys(s).Keep(c.given); got != c.want {
				t.Error("other credentials than wanted")
			}
			if got := FindKeys(s); got != (KeysFound{Keys: c.wantedFound}) { // no step shared what the JWT service issues
				t.Error("other credentials are found")
			}
		})
	}
}

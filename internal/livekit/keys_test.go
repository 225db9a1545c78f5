package livekit

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
)

func makePair(key, secret string) Pair { return Pair{host.NewSecret(key), host.NewSecret(secret)} }

func makeKeys(p Pair) Keys { return Keys{Key: p.Key, Secret: p.Secret} }

func TestParseKeyFile(t *testing.T) {
	one := makeKeys(makePair("API1", "s/1+="))
	two := one
	two.Old = makePair("API2", "s2")
	for text, want := range map[string]Keys{
		"API1: s/1+=\n":                            one,
		"API1: s/1+=":                              one,
		"API1: s/1+=\r\n":                          one,
		"# by hand: x\n\nAPI1: s/1+=\n":            one,
		"API1: s/1+=\nAPI2: s2\n":                  two,
		"API1: s/1+=\r\n\r\n# old\r\nAPI2: s2\r\n": two,
		"":                               {},
		"# nothing\n":                    {},
		"API1\n":                         {},
		"API1:s1\n":                      {},
		"API1: \n":                       {},
		": s1\n":                         {},
		"API1: s1 # mine\n":              {},
		"API1: \"s1\"\n":                 {},
		"'API1': s1\n":                   {},
		"API1: s1: x\n":                  {},
		"API1: s\t1\n":                   {},
		"{API1: s1, API2: s2}\n":         {},
		"keys:\n  API1: s1\n":            {},
		"API1: s1\nAPI1: s2\n":           {}, // LiveKit holds one secret for a key
		"API1: s1\nAPI2: s2\nAPI3: s3\n": {},
		"API1: s1\nAPI2: s2\nx\n":        {},
		"API1: s1\n---\nAPI2: s2\n":      {},
		"API1: s1\rAPI2: s2\n":           {},
		"\x00: \xff\xfe s\n":             {},
		strings.Repeat("a", 1<<20) + ":" + strings.Repeat("b", 1<<20): {},
	} {
		if got := ParseKeyFile([]byte(text)); got != want {
			t.Errorf("%.40q: the keys %q, %q and %q, %q", text, got.Key.Reveal(), got.Secret.Reveal(), got.Old.Key.Reveal(), got.Old.Secret.Reveal())
		}
	}
}

// LiveKit reads all of YAML: a file that says something and is not understood
// may hold pairs that LiveKit accepts.
func TestUnread(t *testing.T) {
	for text, want := range map[string]bool{
		"a: s\nb: s\nc: s\n": true, "a: \"s\"\n": true, "a: s # mine\n": true, "{a: s}\n": true,
		"": false, "\n# nothing\n": false, "a: s\nb: s\n": false, "# x\na: s\r\n": false,
	} {
		if got := Unread([]byte(text)); got != want {
			t.Errorf("%q: not understood: %t", text, got)
		}
	}
	if Unread(nil) {
		t.Error("a file that is not there is not understood")
	}
}

// What is made can stand in every file that carries it.
func TestNewKeys(t *testing.T) {
	k, err := NewKeys()
	if err != nil {
		t.Fatal(err)
	}
	if PlainPair(k.Key.Reveal(), k.Secret.Reveal()) != k.Pair() || len(k.Key.Reveal()) != 48 || len(k.Secret.Reveal()) != 48 {
		t.Error("the pair is not plain, or has another length")
	}
	if other, err := NewKeys(); err != nil || other.Key == k.Key || other.Secret == k.Secret || k.Key == k.Secret {
		t.Errorf("made twice, %v", err)
	}
}

// Saved plans hold fingerprints: they are the same in every version, differ where
// a credential differs, and do not depend on the old pair.
func TestFingerprint(t *testing.T) {
	k := makeKeys(makePair("APIkey", "the-secret"))
	want := "hmac:00e9ae7dc179cdc57005cad9ad80e2836e9a2b278239c240859ef0e2c65e17d3"
	rotating := k
	rotating.Old = makePair("a", "b")
	if k.Fingerprint() != want || rotating.Fingerprint() != want {
		t.Errorf("%s and %s, want %s", k.Fingerprint(), rotating.Fingerprint(), want)
	}
	for _, other := range []Keys{makeKeys(makePair("APIkey", "the-secret2")), makeKeys(makePair("APIkey2", "the-secret"))} {
		if other.Fingerprint() == want {
			t.Error("other credentials have the same fingerprint")
		}
	}
	if got := (Keys{}).Fingerprint(); got != "" {
		t.Errorf("nothing has the fingerprint %q", got)
	}
}

func TestByRef(t *testing.T) {
	k := makeKeys(makePair("a", "b"))
	k.Old = makePair("c", "d")
	if got := KeysByRef(k.ByRef()); got != k {
		t.Error("credentials do not come back from their references")
	}
	if m := k.ByRef(); m[RefKey].Reveal() != "a" || m[RefSecret].Reveal() != "b" || m[RefOldKey].Reveal() != "c" || m[RefOldSecret].Reveal() != "d" {
		t.Error("the references are mixed up")
	}
}

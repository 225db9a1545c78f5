package steps

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
)

// parseOffers reads "SOURCE HOST REF=VALUE ..." for each place; - is no host.
func parseOffers(t *testing.T, places ...string) []Secret {
	t.Helper()
	sources := map[string]Source{"given": SourceGiven, "in-use": SourceInUse, "elsewhere": SourceElsewhere}
	var out []Secret
	for _, p := range places {
		f := strings.Fields(p)
		if sources[f[0]] == 0 {
			t.Fatalf("unknown source %q", f[0])
		}
		for _, pair := range f[2:] {
			ref, value, _ := strings.Cut(pair, "=")
			out = append(out, Secret{Ref: ref, Host: strings.Trim(f[1], "-"), Source: sources[f[0]], Value: host.NewSecret(value)})
		}
	}
	return out
}

// What is chosen of the candidates for a key and its secret, in whatever order
// hosts answered.
func TestChoose(t *testing.T) {
	for _, c := range []struct {
		name   string
		offers []string
		want   map[string]string
		from   Source
	}{
		{"nobody has any", nil, map[string]string{}, SourceToMake},
		{"with the component that only uses it", []string{"elsewhere auth k=1 s=2"}, map[string]string{"k": "1", "s": "2"}, SourceElsewhere},
		{"where it is in use goes first", []string{"elsewhere auth k=1 s=2", "in-use sfu k=3 s=4"}, map[string]string{"k": "3", "s": "4"}, SourceInUse},
		{"the plan file goes before all", []string{"elsewhere auth k=1 s=2", "given - k=5 s=6", "in-use sfu k=3 s=4"},
			map[string]string{"k": "5", "s": "6"}, SourceGiven},
		{"what else its place has comes along", []string{"in-use sfu k=1 s=2 old=3", "elsewhere auth k=4 s=5 more=6"},
			map[string]string{"k": "1", "s": "2", "old": "3"}, SourceInUse},
		{"half a pair is not a pair", []string{"given - k=5", "in-use sfu s=4 old=3", "elsewhere auth k=1 s=2"}, map[string]string{"k": "1", "s": "2"}, SourceElsewhere},
		{"nor is one without a value", []string{"in-use sfu k= s=4", "elsewhere auth k=1 s=2"}, map[string]string{"k": "1", "s": "2"}, SourceElsewhere},
		{"two halves of two places are not a pair", []string{"in-use sfu k=1", "elsewhere auth s=2"}, map[string]string{}, SourceToMake},
		{"of two hosts the first by name", []string{"elsewhere b k=1 s=2", "elsewhere a k=3 s=4"}, map[string]string{"k": "3", "s": "4"}, SourceElsewhere},
	} {
		t.Run(c.name, func(t *testing.T) {
			all := parseOffers(t, c.offers...)
			for range len(all) + 1 {
				values, from := Choose(all, "k", "s")
				got := map[string]string{}
				for ref, v := range values {
					got[ref] = v.Reveal()
				}
				if d := cmp.Diff(c.want, got); d != "" || from != c.from {
					t.Errorf("source %d, %s", from, d)
				}
				if len(all) > 0 { // in another order
					all = append(all[1:], all[0])
				}
			}
		})
	}
}

// Hosts and saved plans remember digests: they are the same in every version.
func TestDigestsStay(t *testing.T) {
	k := livekit.Keys{Key: host.NewSecret("APIkey"), Secret: host.NewSecret("the-secret")}
	spec := host.ContainerSpec{Name: "c"}
	container, err := SpecDigest(spec, []Text{{{Ref: livekit.RefKey}, {Lit: ": "}, {Ref: livekit.RefSecret}, {Lit: "\n"}}}, refSecrets(k))
	plain, err2 := SpecDigest(host.ContainerSpec{Name: "c", Image: "i"}, []Text{Lit("a")}, refSecrets(k))
	if err = errors.Join(err, err2); err != nil {
		t.Fatal(err)
	}
	for what, c := range map[string]struct{ got, want string }{
		"a container with secrets": {container, "hmac:166ba068df71ab4d0dafcfcb432ce4ef3dbfd854f3ef0617d45150360e820cbf"},
		"a container without":      {plain, "02d6f6873c7789479d5fdd4a1cf31de0926f8d2f753f07018971aae21096490f"},
		"a file with secrets":      {secretDigest("/f", []byte("x"), refSecrets(k)), "hmac:4ee0805b2bc32b229994de37f0e087ab97c1a7dfeb9a80de23b413101c7b8728"},
		"a file before there are any": {secretDigest("/f", []byte("x"), refSecrets(livekit.Keys{})),
			"scrypt:b3e1912b67c0165b26b3c7c5e6086ec27ad225a538812ad2e2f01bd1fc85afc4"},
	} {
		if c.got != c.want {
			t.Errorf("%s: %s, want %s", what, c.got, c.want)
		}
	}
	if got := fmt.Sprintf("%+v", refSecrets(k)); strings.Contains(got, "the-secret") || strings.Contains(got, "APIkey") {
		t.Errorf("secrets print: %s", got)
	}
}

func refSecrets(k livekit.Keys) Secrets { return Secrets{Values: k.ByRef(), Seal: livekit.RefSecret} }

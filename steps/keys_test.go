package steps

import (
	"errors"
	"fmt"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
)

// keyed are credentials whose values are told apart by what begins them.
func keyed(key, old string) livekit.Keys {
	k := livekit.Keys{Key: host.NewSecret(key + strings.Repeat("K", 47)), Secret: host.NewSecret(key + strings.Repeat("S", 47))}
	if old != "" {
		k.Old = keyed(old, "").Pair()
	}
	return k
}

// A key file that we write is one that we read.
func TestKeyFile(t *testing.T) {
	for _, keys := range []livekit.Keys{keyed("a", ""), keyed("a", "b")} {
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

// authFound are the facts of a host on which the JWT service is as it should be
// with these credentials.
func authFound(t *testing.T, keys livekit.Keys) authFacts {
	t.Helper()
	f := authFacts{arch: "amd64", image: imageFacts{Found: true, ID: "sha256:i"}, files: map[string]host.File{}}
	c := Only(t, decideAuth(t, f, keys)).(*Container)
	for _, d := range c.Dirs {
		f.files[d.Path] = host.File{Path: d.Path, Exists: true}
	}
	for _, e := range c.Edits {
		data, err := e.Text.Fill(KeySecrets(keys))
		if err != nil {
			t.Fatal(err)
		}
		f.files[e.Path] = host.File{Path: e.Path, Real: e.Path, Exists: true, Mode: e.Mode, GID: e.GID, Data: data}
	}
	sum, err := specDigest(c.Spec, c.Config, KeySecrets(keys))
	if err != nil {
		t.Fatal(err)
	}
	f.container = containerFacts{Found: true, ID: "c2", Image: "sha256:i", Running: true, Restart: "always", Labels: map[string]string{LabelSpec: sum}}
	return f
}

func decideAuth(t *testing.T, f authFacts, keys livekit.Keys) []Change {
	t.Helper()
	d, err := authStep().diff(f, Shared{Secrets: KeySecrets(keys)})
	if err != nil {
		t.Fatal(err)
	}
	return d.Changes
}

func authStep() step[authFacts] {
	return testAuth().container(declared(testAuth()), OneHost()).(step[authFacts])
}

func sfuStep() step[sfuFacts] {
	return testSFU().container(declared(testSFU()), OneHost()).(step[sfuFacts])
}

// A rotation from its first step to its last, and what else can happen to
// credentials: what LiveKit's key file and the JWT service's secret hold after
// it, and what a person is told before it.
func TestRotation(t *testing.T) {
	for _, c := range []struct {
		name       string
		held, keys livekit.Keys
		sfu, auth  bool // whether they restart
		why, says  string
	}{
		{"rotate", keyed("a", ""), keyed("b", "a"), true, true, "LIVEKIT_SECRET change", "note: LiveKit accepts the old LIVEKIT_KEY, too"},
		{"apply in between", keyed("b", "a"), keyed("b", "a"), false, false, "", "note: LiveKit accepts the old LIVEKIT_KEY, too"},
		{"finish", keyed("b", "a"), keyed("b", ""), true, false, "the old LIVEKIT_KEY goes", "warning: tokens made with the old LIVEKIT_KEY are refused"},
		{"apply after it", keyed("b", ""), keyed("b", ""), false, false, "", ""},
		{"others at once", keyed("a", ""), keyed("b", ""), true, true, "LIVEKIT_SECRET change", "warning: LIVEKIT_KEY and LIVEKIT_SECRET change at once"},
		{"others at once, in between", keyed("b", "a"), keyed("c", ""), true, true, "LIVEKIT_SECRET change", "warning: LIVEKIT_KEY and LIVEKIT_SECRET change at once"},
		{"back to the old ones, in between", keyed("b", "a"), keyed("a", "b"), true, true, "LIVEKIT_SECRET change", "note: LiveKit accepts the old LIVEKIT_KEY, too"},
		{"back to the old ones at once", keyed("b", "a"), keyed("a", ""), true, true, "LIVEKIT_SECRET change", "warning: LIVEKIT_KEY and LIVEKIT_SECRET change at once"},
	} {
		t.Run(c.name, func(t *testing.T) {
			sfu, auth := sfuWith(t, testSFU(), c.held), authFound(t, c.held)
			var shared Shared
			(facts[sfuFacts]{sfuStep(), sfu}).Share(&shared)
			(facts[authFacts]{authStep(), auth}).Share(&shared)
			if (FindKeys(shared) != KeysFound{Keys: c.held, Issues: c.held.Pair()}) {
				t.Error("the credentials on the host were not found")
			}
			d, err := decideSFU(testSFU(), testAuth(), sfu, Shared{Secrets: KeySecrets(c.keys)})
			if err != nil {
				t.Fatal(err)
			}
			authChanges := decideAuth(t, auth, c.keys)
			if len(d.Changes) > 0 != c.sfu || len(authChanges) > 0 != c.auth {
				t.Fatalf("%d changes of LiveKit, %d of the JWT service", len(d.Changes), len(authChanges))
			}
			if got := Summaries(d.Findings); !strings.HasPrefix(got, c.says) || c.says == "" && got != "" {
				t.Errorf("it says %q", got)
			}
			if c.sfu {
				checkChange(t, Only(t, d.Changes).(*Container), sfu.files, c.held, c.keys, c.why)
			}
			if c.auth {
				checkChange(t, Only(t, authChanges).(*Container), auth.files, c.held, c.keys, c.why)
			}
		})
	}
}

// A key file that LiveKit understands and ecdeploy does not: no pair of it goes
// without a word, and no rotation believes that there is none.
func TestUnreadKeyFile(t *testing.T) {
	_, path := sfuFiles(OneHost())
	for text, want := range map[string]bool{
		"a: s\nb: s\nc: s\n": true, "a: \"s\"\n": true, "a: s # mine\n": true, "{a: s}\n": true,
		"": false, "\n# nothing\n": false, "a: s\nb: s\n": false, "# x\na: s\r\n": false,
	} {
		f := sfuWith(t, testSFU(), keyed("a", ""))
		file := f.files[path]
		file.Data = []byte(text)
		f.files[path] = file
		var shared Shared
		(facts[sfuFacts]{sfuStep(), f}).Share(&shared)
		d, err := decideSFU(testSFU(), testAuth(), f, Shared{Secrets: KeySecrets(keyed("a", ""))})
		if err != nil {
			t.Fatal(err)
		}
		says := strings.Contains(Summaries(d.Findings), "warning: what "+path+" holds is not understood: LiveKit may accept other pairs")
		if unread := FindKeys(shared).Unread; (unread == path) != want || says != want {
			t.Errorf("%q: not understood: %q; %q", text, unread, Summaries(d.Findings))
		}
	}
}

// checkChange wants that c resolves on the host that it was made on, makes files
// of these credentials and shows none of them.
func checkChange(t *testing.T, c *Container, files map[string]host.File, held, keys livekit.Keys, why string) {
	t.Helper()
	if !strings.Contains(strings.Join(c.Why, "\n"), why) {
		t.Errorf("%s changes because of %q", c.Spec.Name, c.Why)
	}
	for _, e := range c.Edits {
		if files[e.Path].Exists && !strings.HasPrefix(e.Before, "hmac:") {
			t.Errorf("%s, with secrets in it, is known by %s", e.Path, e.Before)
		}
	}
	r, err := c.Resolve(t.Context(), Env{Host: onFiles(files), Run: "r", Secrets: KeySecrets(keys)})
	if err != nil {
		t.Fatal(err)
	}
	want := fmt.Sprintf("%s: %s\n", keys.Key.Reveal(), keys.Secret.Reveal())
	if !keys.Old.IsZero() {
		want += fmt.Sprintf("%s: %s\n", keys.Old.Key.Reveal(), keys.Old.Secret.Reveal())
	}
	if c.Spec.Name == "element-call-jwt" {
		want = keys.Secret.Reveal() + "\n"
	}
	if got := string(r.Stage[len(r.Stage)-1].Data); got != want {
		t.Errorf("%s: %q, want %q", c.Edits[len(c.Edits)-1].Path, got, want)
	}
	if c.Spec.Name == "livekit-sfu" && held.Key != keys.Key && !strings.Contains(string(r.Stage[0].Data), `api_key: "`+keys.Key.Reveal()+`"`) {
		t.Errorf("LiveKit signs its webhooks with another key:\n%s", r.Stage[0].Data)
	}

	spoiled := map[string]host.File{}
	for p, f := range files {
		f.Data = append([]byte("# "+held.Secret.Reveal()+"\n"), f.Data...)
		spoiled[p] = f
	}
	_, drift := c.Resolve(t.Context(), Env{Host: onFiles(spoiled), Run: "r", Secrets: KeySecrets(keys)})
	if !errors.Is(drift, ErrDrift) {
		t.Fatalf("on other files: %v", drift)
	}
	b, err := MarshalChange(c)
	if err != nil {
		t.Fatal(err)
	}
	shown := fmt.Sprintf("%s\n%+v\n%v\n%+v", b, c.Summary(), drift, keys)
	for _, k := range []livekit.Keys{held, keys} {
		for ref, v := range k.ByRef() {
			if !v.IsZero() && strings.Contains(shown, v.Reveal()) {
				t.Errorf("%s shows in\n%s", ref, shown)
			}
		}
	}
}

// onFiles is a host with these files.
func onFiles(files map[string]host.File) host.Observer {
	text := map[string]string{}
	for p, f := range files {
		text[p] = string(f.Data)
	}
	return Fake{Files: text}
}

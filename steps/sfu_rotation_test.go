package steps

import (
	"strings"
	"testing"
)

// What LiveKit's key file holds after a rotation, and what a person is told before
// it.
func TestSFURotation(t *testing.T) {
	for _, c := range Rotations() {
		t.Run(c.Name, func(t *testing.T) {
			f := sfuWith(t, testSFU(), c.Held)
			_, path := sfuFiles(OneHost())
			var shared Shared
			f.share(path, &shared)
			if (FindKeys(shared) != KeysFound{Keys: c.Held}) {
				t.Error("the credentials on the host were not found")
			}
			d, err := decideSFU(testSFU(), OneHost(), f, Shared{Secrets: KeySecrets(c.Keys)})
			if err != nil || len(d.Changes) > 0 != c.SFU {
				t.Fatalf("%d changes, %v", len(d.Changes), err)
			}
			if got := Summaries(d.Findings); !strings.HasPrefix(got, c.Says) || c.Says == "" && got != "" {
				t.Errorf("it says %q", got)
			}
			if c.SFU {
				CheckRotated(t, Only(t, d.Changes).(*Container), f.files, c.Held, c.Keys, c.Why)
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
		f := sfuWith(t, testSFU(), Keyed("a", ""))
		file := f.files[path]
		file.Data = []byte(text)
		f.files[path] = file
		var shared Shared
		f.share(path, &shared)
		d, err := decideSFU(testSFU(), OneHost(), f, Shared{Secrets: KeySecrets(Keyed("a", ""))})
		if err != nil {
			t.Fatal(err)
		}
		says := strings.Contains(Summaries(d.Findings), "warning: what "+path+" holds is not understood: LiveKit may accept other pairs")
		if unread := FindKeys(shared).Unread; (unread == path) != want || says != want {
			t.Errorf("%q: not understood: %q; %q", text, unread, Summaries(d.Findings))
		}
	}
}

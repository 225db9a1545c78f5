package sfu

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// What LiveKit's key file holds after a rotation, and what a person is told before
// it.
func TestSFURotation(t *testing.T) {
	for _, c := range suite.Rotations() {
		t.Run(c.Name, func(t *testing.T) {
			f := sfuWith(t, testSFU(), c.Held)
			_, path := sfuFiles(suite.OneHost())
			var shared steps.Shared
			f.share(path, &shared)
			if (credentials.Find(shared) != credentials.Found{Keys: c.Held}) {
				t.Error("the credentials on the host were not found")
			}
			d, err := decideSFU(testSFU(), suite.OneHost(), f, steps.Shared{Secrets: credentials.Secrets(c.Keys)})
			if err != nil || len(d.Changes) > 0 != c.SFU {
				t.Fatalf("%d changes, %v", len(d.Changes), err)
			}
			if got := suite.Summaries(d.Findings); !strings.HasPrefix(got, c.Says) || c.Says == "" && got != "" {
				t.Errorf("it says %q", got)
			}
			if c.SFU {
				suite.CheckRotated(t, suite.Only(t, d.Changes).(*steps.Container), f.files, c.Held, c.Keys, c.Why)
			}
		})
	}
}

// A key file that LiveKit understands and ecdeploy does not: no pair of it goes
// without a word, and no rotation believes that there is none.
func TestUnreadKeyFile(t *testing.T) {
	_, path := sfuFiles(suite.OneHost())
	for text, want := range map[string]bool{
		"a: s\nb: s\nc: s\n": true, "a: \"s\"\n": true, "a: s # mine\n": true, "{a: s}\n": true,
		"": false, "\n# nothing\n": false, "a: s\nb: s\n": false, "# x\na: s\r\n": false,
	} {
		f := sfuWith(t, testSFU(), suite.Keyed("a", ""))
		file := f.files[path]
		file.Data = []byte(text)
		f.files[path] = file
		var shared steps.Shared
		f.share(path, &shared)
		d, err := decideSFU(testSFU(), suite.OneHost(), f, steps.Shared{Secrets: credentials.Secrets(suite.Keyed("a", ""))})
		if err != nil {
			t.Fatal(err)
		}
		says := strings.Contains(suite.Summaries(d.Findings), "warning: what "+path+" holds is not understood: LiveKit may accept other pairs")
		if unread := credentials.Find(shared).Unread; (unread == path) != want || says != want {
			t.Errorf("%q: not understood: %q; %q", text, unread, suite.Summaries(d.Findings))
		}
	}
}

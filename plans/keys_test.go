package plans

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/steps"
)

// What a command prints is checked like what stands in the file, and no error
// holds it.
func TestKeysOfCommand(t *testing.T) {
	good := strings.Repeat("sEcReT", 6)
	for _, c := range []struct{ name, printed, wrong string }{
		{"right", "API: " + good, ""},
		{"right, with a line end", "API: " + good + "\r\n", ""},
		{"base64", "API: " + good + "+/a==", ""},
		{"no pair", good, "one line `KEY: SECRET`"},
		{"nothing", "", "one line `KEY: SECRET`"},
		{"two lines", "API: " + good + "\nmore", "one line `KEY: SECRET`"},
		{"development", "devkey: " + good, "devkey is the key of LiveKit's development mode"},
		{"no key", ": " + good, "key is empty"},
		{"spaces for a key", "  : " + good, "key is empty"},
		{"short", "API: " + good[:31], "secret is shorter than 32 characters"},
		{"no secret", "API: ", "secret is shorter than 32 characters"},
		{"YAML in the secret", "API: {" + good, "secret must begin with"},
		{"YAML in the key", "*API: " + good, "key must begin with"},
		{"a pair in a pair", "API: " + good + ": x", "secret must begin with"},
	} {
		t.Run(c.name, func(t *testing.T) {
			k, err := Site{Keys: &steps.LiveKitKeys{Command: []string{"printf", "%s", c.printed}}}.GivenKeys(t.Context())
			switch {
			case c.wrong == "" && (err != nil || k.IsZero()):
				t.Errorf("keys %v, %v", k, err)
			case c.wrong != "" && (err == nil || !strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), good[:31])):
				t.Errorf("error %v, expected %q", err, c.wrong)
			}
		})
	}
}

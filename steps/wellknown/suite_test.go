package wellknown

import (
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
)

func TestSuite(t *testing.T) {
	t.Run("file", func(t *testing.T) {
		suite.Run(t, suite.Case{Variant: FileVariant(), World: func(*testing.T) *suite.World {
			return suite.NewWorld(map[string]string{"/var/www/client": `{"m.homeserver": {"base_url": "https://matrix.example.org"}}` + "\n"}, nil)
		}})
	})
	t.Run("external", func(t *testing.T) { suite.Run(t, suite.Case{Variant: ExternalVariant()}) })
}

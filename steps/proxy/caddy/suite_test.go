package caddy

import (
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

func TestSuite(t *testing.T) {
	suite.Run(t, suite.Case{
		Variant: Variant(),
		Site:    func() *steps.Site { return suite.OneName("matrix.example.org") },
		World: func(*testing.T) *suite.World {
			o := caddyHost("matrix.example.org {\n\treverse_proxy 127.0.0.1:8008\n}\n", nil, asked{})
			return suite.NewWorld(o.Files, o.Answer)
		},
	})
}

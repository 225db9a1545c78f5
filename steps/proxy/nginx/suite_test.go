package nginx

import (
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
)

func TestSuite(t *testing.T) {
	suite.Run(t, suite.Case{
		Variant: Variant(),
		Site:    func() *steps.Site { return suite.OneName("matrix.example.org") },
		World: func(t *testing.T) *suite.World {
			o := nginxHost(t, map[string]string{"matrix": suite.MatrixSite})
			w := suite.NewWorld(o.Files, o.Answer)
			w.Links = o.Links
			return w
		},
	})
}

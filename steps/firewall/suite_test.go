package firewall

import (
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
)

func TestSuite(t *testing.T) {
	t.Run("ufw", func(t *testing.T) { suite.Run(t, suite.Case{Variant: UFWVariant()}) })
	t.Run("nftables", func(t *testing.T) { suite.Run(t, suite.Case{Variant: NFTablesVariant()}) })
	t.Run("none", func(t *testing.T) { suite.Run(t, suite.Case{Variant: NoneVariant()}) })
	t.Run("found", func(t *testing.T) {
		suite.Run(t, suite.Case{Variant: FoundVariant(UFWVariant(), NFTablesVariant(), NoneVariant())})
	})
}

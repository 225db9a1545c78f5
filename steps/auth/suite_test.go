package auth

import (
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
)

func TestSuite(t *testing.T) {
	suite.Run(t, suite.Case{Variant: Variant(), World: func(*testing.T) *suite.World { return suite.NewWorld(nil, nil) }})
}

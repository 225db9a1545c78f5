package machine

import (
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
)

func TestSuite(t *testing.T) { suite.Run(t, suite.Case{Variant: Variant()}) }

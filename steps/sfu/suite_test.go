package sfu

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
)

func TestSuite(t *testing.T) {
	suite.Run(t, suite.Case{Variant: Variant(), World: func(*testing.T) *suite.World {
		return suite.NewWorld(nil, func(argv string) host.Result {
			switch {
			case strings.HasPrefix(argv, "ip -o addr"):
				return host.Result{Stdout: []byte("2: eth0    inet 198.51.100.7/24 brd 198.51.100.255 scope global eth0\n")}
			case strings.HasPrefix(argv, "ip -o route"):
				return host.Result{Stdout: []byte("192.0.2.1 via 198.51.100.1 dev eth0 src 198.51.100.7 uid 0\n")}
			case argv == "uname -m":
				return host.Result{Stdout: []byte("x86_64\n")}
			}
			return host.Result{Code: 1}
		})
	}})
}

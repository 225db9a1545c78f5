package synapse

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
)

func TestSuite(t *testing.T) {
	t.Run("debian", func(t *testing.T) {
		suite.Run(t, suite.Case{Variant: PackageVariant(), World: func(*testing.T) *suite.World {
			return suite.NewWorld(map[string]string{suite.SynapsePath: suite.SynapseListens}, func(argv string) host.Result {
				switch {
				case strings.Contains(argv, "systemctl show --property=LoadState"):
					return host.Result{Stdout: []byte("LoadState=loaded\nActiveState=active\nUser=matrix-synapse\nExecStart={ path=p ; " +
						"argv[]=/usr/bin/python3 -m synapse.app.homeserver --config-path=" + suite.SynapsePath + " ; }\nPython=/usr/bin/python3\n")}
				case strings.Contains(argv, "dpkg-query -W"):
					return host.Result{Stdout: []byte("1.160.0-1\n")}
				}
				return host.Result{}
			})
		}})
	})
	t.Run("venv", func(t *testing.T) {
		suite.Run(t, suite.Case{Variant: VenvVariant(), World: func(*testing.T) *suite.World {
			return suite.NewWorld(map[string]string{venvPath: suite.SynapseListens}, func(argv string) host.Result {
				switch {
				case strings.Contains(argv, "importlib.metadata"):
					return host.Result{Stdout: []byte("1.163.2\n")}
				case strings.Contains(argv, "systemctl show"):
					return host.Result{Stdout: []byte(venvUnitText())}
				}
				return host.Result{}
			})
		}})
	})
	t.Run("external", func(t *testing.T) { suite.Run(t, suite.Case{Variant: ExternalVariant()}) })
}

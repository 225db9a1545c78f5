package synapse

import (
	"regexp"
	"time"

	"github.com/emdecloud/ecdeploy/steps"
)

// Service is a Synapse that runs as one process in a systemd unit of its host.
type Service struct {
	Host         string        `hcl:"host"`
	Unit         string        `hcl:"unit,optional"`            // default: its origin's
	StartTimeout time.Duration `hcl:"start_timeout,optional"`   // default 120s
	MaxDelay     string        `hcl:"max_event_delay,optional"` // default 24h
	From         Origin
}

// leastVersion is the first Synapse with MatrixRTC transports.
const leastVersion = "1.140.0"

// defaultDelay is how long a client may have a delayed event wait.
const defaultDelay = "24h"

// newService is a Synapse of an origin, with the defaults.
func newService(from Origin, on, unit string) *Service {
	return &Service{Host: on, Unit: unit, StartTimeout: 120 * time.Second, MaxDelay: defaultDelay, From: from}
}

// PackageVariant is the packaged Synapse.
func PackageVariant() steps.Variant {
	return steps.Variant{
		Block: "synapse", Label: string(Package), Required: true,
		Doc:     "1.140 or newer from Debian's or matrix.org's package, one process",
		Example: `synapse "debian" { host = host.NAME }`,
		Config:  func() steps.Config { return newService(Package, "", debianUnit) },
		Detect:  detectPackage,
	}
}

// VenvVariant is Synapse from PyPI.
func VenvVariant() steps.Variant {
	return steps.Variant{
		Block: "synapse", Label: string(Venv), Required: true,
		Doc:     "1.140 or newer from PyPI in a virtualenv, with a systemd unit, one process",
		Example: `synapse "venv" { host = host.NAME }`,
		Config:  func() steps.Config { return newService(Venv, "", venvUnit) },
		Detect:  detectVenv,
	}
}

// HostName implements Config.
func (c *Service) HostName() string { return c.Host }

// Parts implements Config.
func (c *Service) Parts(d steps.Decl) []steps.Part {
	return []steps.Part{{Name: "synapse", Title: "Synapse", Host: d.Host, Homeserver: c, Unit: &steps.Unit{
		Name: c.Unit, Title: "Synapse", Version: c.From.traits().version(c.Unit),
	}}}
}

// synapseTime is a duration of Synapse's with its unit.
var synapseTime = regexp.MustCompile(`^[1-9][0-9]{0,8}[smhdwy]$`)

// Check implements Config.
func (c *Service) Check(b steps.Block, _ steps.Decl, _ *steps.Site) {
	steps.CheckUnit(b, c.Unit, c.From.traits().unit)
	if b.Known("max_event_delay") && !synapseTime.MatchString(c.MaxDelay) {
		b.Wrong("max_event_delay", "max_event_delay is no duration of Synapse's", `write a number and one of s, m, h, d, w, y, like "24h"`)
	}
}

// Steps implements Config.
func (c *Service) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	return []steps.Placed{{Stage: steps.StageHomeserver, Host: d.Host, Step: c.configure(s)}}
}

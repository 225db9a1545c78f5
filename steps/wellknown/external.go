package wellknown

import (
	"fmt"
	"net"

	"github.com/emdecloud/ecdeploy/steps"
)

// External is a .well-known that somebody else serves.
type External struct {
	Host string `hcl:"host,optional"` // a host that can reach it; default: the auth host
}

// ExternalVariant is any other way to serve it.
func ExternalVariant() steps.Variant {
	return steps.Variant{
		Block: "well_known", Label: "external", Required: true,
		Doc:     "any other: prints what it has to say, and checks it",
		Example: `well_known "external" {}`,
		WayOut:  `write well_known "external" {}: ecdeploy then prints what it has to say, and checks it`,
		Config:  func() steps.Config { return new(External) },
		Detect:  steps.FindsNothing,
	}
}

// HostName implements Config.
func (c *External) HostName() string { return c.Host }

// Parts implements Config.
func (c *External) Parts(d steps.Decl) []steps.Part {
	return []steps.Part{{Name: "well-known", Title: "the announcement", Host: d.Host}}
}

// Check implements Config.
func (c *External) Check(steps.Block, steps.Decl, *steps.Site) {}

// ByHand implements steps.ByHand.
func (*External) ByHand() string {
	return "the client well-known is somebody else's: take org.matrix.msc4143.rtc_foci out of it first"
}

// Steps implements Config.
func (c *External) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	key := fmt.Sprintf("\"org.matrix.msc4143.rtc_foci\": [{\"type\": \"livekit\", \"livekit_service_url\": %q}]", s.ServiceURL())
	text := wellKnownURL(s.Name) + " is somebody else's; it needs the key\n" + key +
		"\nand is to be sent as application/json with one header Access-Control-Allow-Origin: *"
	return []steps.Placed{{
		Stage: steps.StageWellKnown,
		Host:  d.Host,
		Step:  steps.LeftToOwner("well-known", text, wellKnownChecks(s, net.JoinHostPort(s.Domain(), "443"), "whoever serves it")),
	}}
}

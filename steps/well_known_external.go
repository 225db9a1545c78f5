package steps

import (
	"fmt"
	"net"
)

// WellKnownExternal is a .well-known that somebody else serves.
type WellKnownExternal struct {
	Host string `hcl:"host,optional"` // a host that can reach it; default: the auth host
}

// WellKnownExternalVariant is any other way to serve it.
func WellKnownExternalVariant() Variant {
	return Variant{
		Block: "well_known", Label: "external", Required: true,
		Doc:     "any other: prints what it has to say, and checks it",
		Example: `well_known "external" {}`,
		WayOut:  `write well_known "external" {}: ecdeploy then prints what it has to say, and checks it`,
		Config:  func() Config { return new(WellKnownExternal) },
		Detect:  findsNothing,
	}
}

// HostName implements Config.
func (c *WellKnownExternal) HostName() string { return c.Host }

// Parts implements Config.
func (c *WellKnownExternal) Parts(d Decl) []Part {
	return []Part{{Name: "well-known", Title: "the announcement", Host: d.Host}}
}

// Check implements Config.
func (c *WellKnownExternal) Check(Block, Decl, *Site) {}

// Steps implements Config.
func (c *WellKnownExternal) Steps(d Decl, s *Site) []Placed {
	key := fmt.Sprintf("\"org.matrix.msc4143.rtc_foci\": [{\"type\": \"livekit\", \"livekit_service_url\": %q}]", s.ServiceURL())
	text := wellKnownURL(s.Name) + " is somebody else's; it needs the key\n" + key + "\nand is to be sent as application/json with one header Access-Control-Allow-Origin: *"
	return []Placed{{Stage: StageWellKnown, Host: d.Host, Step: leftToOwner("well-known", text, wellKnownChecks(s, net.JoinHostPort(s.Domain(), "443"), "whoever serves it"))}}
}

// Removal implements Config.
func (c *WellKnownExternal) Removal(d Decl, _ *Site) []Placed {
	return []Placed{{Stage: StageWellKnown, Host: d.Host, Step: LeftToOthers("the client well-known", "take org.matrix.msc4143.rtc_foci out of it first")}}
}

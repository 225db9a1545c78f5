package synapse

import (
	"context"
	"fmt"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// External is a Synapse that somebody else configures; ecdeploy says
// what it needs and checks that it is there.
type External struct {
	Host string `hcl:"host,optional"` // a host that can reach it; default: the auth host
	URL  string `hcl:"url"`           // base URL of the client-server API
}

// ExternalVariant is any other Synapse.
func ExternalVariant() steps.Variant {
	return steps.Variant{
		Block: "synapse", Label: "external", Required: true,
		Doc:     "any other: prints what it needs, and checks it",
		Example: "synapse \"external\" {\n  url = \"https://matrix.example.org\"\n}",
		WayOut:  `write synapse "external" { url = "https://..." }: ecdeploy then says which settings it needs, and checks them`,
		Config:  func() steps.Config { return new(External) },
		Detect:  steps.FindsNothing,
	}
}

// HostName implements Config.
func (c *External) HostName() string { return c.Host }

// Parts implements Config.
func (c *External) Parts(d steps.Decl) []steps.Part {
	return []steps.Part{{Name: "synapse", Title: "Synapse", Host: d.Host, Homeserver: c}}
}

// BaseURL implements Homeserver.
func (c *External) BaseURL() string { return c.URL }

// Configured implements Homeserver.
func (c *External) Configured() bool { return false }

// State implements Homeserver.
func (c *External) State(context.Context, host.Observer, *steps.Site) (steps.HomeserverState, error) {
	return steps.HomeserverState{Problem: "somebody else configures it"}, nil
}

// Check implements Config.
func (c *External) Check(b steps.Block, _ steps.Decl, _ *steps.Site) { steps.CheckBaseURL(b, c.URL) }

// Steps implements Config.
func (c *External) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	text := "Synapse is somebody else's; its homeserver.yaml needs (merge into sections that are there, then restart it and all its workers):\n" + settingsText(s)
	return []steps.Placed{{Stage: steps.StageHomeserver, Host: d.Host, Step: steps.LeftToOwner("synapse", text, c.checks())}}
}

// Removal implements Config.
func (c *External) Removal(d steps.Decl, _ *steps.Site) []steps.Placed {
	return []steps.Placed{{Stage: steps.StageHomeserver, Host: d.Host, Step: steps.LeftToOthers("Synapse", "take matrix_rtc.transports out of its configuration first, then restart it")}}
}

// settingsText is what homeserver.yaml needs.
func settingsText(s *steps.Site) string {
	return fmt.Sprintf(`experimental_features:
  msc4143_enabled: true
  msc4222_enabled: true
  msc3266_enabled: true # before Synapse 1.153 only
max_event_delay_duration: 24h
rc_message:
  per_second: 0.5
  burst_count: 30
rc_delayed_event_mgmt:
  per_second: 1
  burst_count: 20
matrix_rtc:
  transports:
    - type: livekit
      livekit_service_url: %s
# and in the resources of a listener that other homeservers and the JWT service
# reach: names: [client, federation], or [client, openid]`, s.ServiceURL())
}

func (c *External) checks() []steps.Check {
	base := strings.TrimRight(c.URL, "/")
	return []steps.Check{
		{Name: "Synapse has delayed events on", Timeout: steps.RouteTimeout, Hint: "set max_event_delay_duration and restart Synapse",
			HTTP: &steps.HTTPCheck{URL: base + "/_matrix/client/versions", Header: map[string]string{"Cache-Control": "no-cache"}, Status: 200, JSONTrue: []string{"org.matrix.msc4140"}}},
		{Name: "Synapse serves the transports", Timeout: steps.RouteTimeout, Hint: "set experimental_features.msc4143_enabled and restart Synapse",
			HTTP: &steps.HTTPCheck{URL: base + "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", Status: 401, Body: "M_MISSING_TOKEN"}},
	}
}

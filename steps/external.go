package steps

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// What is called external is configured by somebody else: ecdeploy says what
// is needed, in the words of the thing itself, and checks that it is there.

func nothing(context.Context, host.Observer) (struct{}, error) { return struct{}{}, nil }

// ProxyExternal is a reverse proxy that somebody else configures. It serves all
// that no other proxy block serves: what is on its host over loopback, an
// SFU on another host over the network. Without Host it may be anywhere, and
// then no port is opened to it.
type ProxyExternal struct {
	Host string `hcl:"host,optional"` // the host that it is on; default: anywhere, reaching auth's host
}

// ProxyExternalVariant is any other proxy.
func ProxyExternalVariant() Variant {
	return Variant{
		Block: "proxy", Label: "external", Required: true, Several: true,
		Doc:     "any other: prints what it has to serve, and checks it",
		Example: `proxy "external" { host = host.NAME }`,
		WayOut:  `write proxy "external" {}: ecdeploy then prints what it has to serve, and checks it`,
		Config:  func() Config { return new(ProxyExternal) },
		Detect:  findsNothing,
	}
}

// findsNothing is Detect of a variant that leaves a thing to its owner.
func findsNothing(context.Context, host.Observer) ([]Found, error) { return nil, nil }

// HostName implements Config.
func (c *ProxyExternal) HostName() string { return c.Host }

// Parts implements Config.
func (c *ProxyExternal) Parts(d Decl) []Part {
	return []Part{{Name: "external", Title: "the proxy", Host: d.Host, Proxy: &Proxy{Foreign: true, Somewhere: c.Host == ""}}}
}

// Check implements Config.
func (c *ProxyExternal) Check(Block, Decl, *Site) {}

// Steps implements Config.
func (c *ProxyExternal) Steps(d Decl, s *Site) []Placed {
	routes := s.Served(d.Host)
	var checks []Check
	for _, r := range routes {
		checks = append(checks, r.ChecksAt("")...)
	}
	text := "the proxy is somebody else's; in nginx's words it needs:\n" + nginxBlocks(routes) + "or in a Caddyfile:\n" + caddyBlocks(routes)
	return []Placed{{Stage: StageProxy, Host: d.Host, Step: leftToOwner("proxy", text, checks)}}
}

// Removal implements Config.
func (c *ProxyExternal) Removal(d Decl, _ *Site) []Placed {
	return []Placed{{Stage: StageProxy, Host: d.Host, Step: LeftToOthers("the proxy", "take the routes to the SFU and the JWT service out of it")}}
}

// leftToOwner says what somebody else has to do, and checks that it is done.
func leftToOwner(name, text string, checks []Check) Step {
	return Define(name, nothing, nil, func(struct{}, Shared) (Decision, error) {
		return Decision{Findings: []Finding{{Note, text, ""}}, Checks: checks}, nil
	})
}

// byName are routes with the routes of the same public name together.
func byName(routes []Route) [][]Route {
	var out [][]Route
	for _, r := range routes {
		i := slices.IndexFunc(out, func(group []Route) bool { return group[0].Name() == r.Name() })
		if i < 0 {
			out = append(out, []Route{r})
			continue
		}
		out[i] = append(out[i], r)
	}
	return out
}

func nginxBlocks(routes []Route) string {
	var b strings.Builder
	for _, group := range byName(routes) {
		name := group[0].Name()
		fmt.Fprintf(&b, "server {\n    listen 443 ssl;\n    server_name %s;\n    ssl_certificate /etc/letsencrypt/live/%s/fullchain.pem;\n    ssl_certificate_key /etc/letsencrypt/live/%s/privkey.pem;\n", name, name, name)
		for _, r := range group {
			b.WriteString(indent(locations(r), "    "))
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// caddyBlocks need no word on upgrades and logs: Caddy passes WebSockets on,
// and logs no requests unless told to.
func caddyBlocks(routes []Route) string {
	var b strings.Builder
	for _, group := range byName(routes) {
		fmt.Fprintf(&b, "%s {\n", group[0].Name())
		slices.SortStableFunc(group, func(x, y Route) int { return len(y.Prefix()) - len(x.Prefix()) })
		for _, r := range group {
			if r.Prefix() == "" {
				fmt.Fprintf(&b, "    handle {\n        reverse_proxy %s\n    }\n", r.Upstream)
				continue
			}
			fmt.Fprintf(&b, "    handle_path %s/* {\n        reverse_proxy %s\n    }\n", r.Prefix(), r.Upstream)
		}
		b.WriteString("}\n")
	}
	return b.String()
}

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

// SynapseExternal is a Synapse that somebody else configures; ecdeploy says
// what it needs and checks that it is there.
type SynapseExternal struct {
	Host string `hcl:"host,optional"` // a host that can reach it; default: the auth host
	URL  string `hcl:"url"`           // base URL of the client-server API
}

// SynapseExternalVariant is any other Synapse.
func SynapseExternalVariant() Variant {
	return Variant{
		Block: "synapse", Label: "external", Required: true,
		Doc:     "any other: prints what it needs, and checks it",
		Example: "synapse \"external\" {\n  url = \"https://matrix.example.org\"\n}",
		WayOut:  `write synapse "external" { url = "https://..." }: ecdeploy then says which settings it needs, and checks them`,
		Config:  func() Config { return new(SynapseExternal) },
		Detect:  findsNothing,
	}
}

// HostName implements Config.
func (c *SynapseExternal) HostName() string { return c.Host }

// Parts implements Config.
func (c *SynapseExternal) Parts(d Decl) []Part {
	return []Part{{Name: "synapse", Title: "Synapse", Host: d.Host, Homeserver: c}}
}

// BaseURL implements Homeserver.
func (c *SynapseExternal) BaseURL() string { return c.URL }

// Configured implements Homeserver.
func (c *SynapseExternal) Configured() bool { return false }

// State implements Homeserver.
func (c *SynapseExternal) State(context.Context, host.Observer, *Site) (HomeserverState, error) {
	return HomeserverState{Problem: "somebody else configures it"}, nil
}

// Check implements Config.
func (c *SynapseExternal) Check(b Block, _ Decl, _ *Site) { CheckBaseURL(b, c.URL) }

// Steps implements Config.
func (c *SynapseExternal) Steps(d Decl, s *Site) []Placed {
	text := "Synapse is somebody else's; its homeserver.yaml needs (merge into sections that are there, then restart it and all its workers):\n" + settingsText(s)
	return []Placed{{Stage: StageHomeserver, Host: d.Host, Step: leftToOwner("synapse", text, c.checks())}}
}

// Removal implements Config.
func (c *SynapseExternal) Removal(d Decl, _ *Site) []Placed {
	return []Placed{{Stage: StageHomeserver, Host: d.Host, Step: LeftToOthers("Synapse", "take matrix_rtc.transports out of its configuration first, then restart it")}}
}

// settingsText is what homeserver.yaml needs.
func settingsText(s *Site) string {
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

func (c *SynapseExternal) checks() []Check {
	base := strings.TrimRight(c.URL, "/")
	return []Check{
		{Name: "Synapse has delayed events on", Timeout: RouteTimeout, Hint: "set max_event_delay_duration and restart Synapse",
			HTTP: &HTTPCheck{URL: base + "/_matrix/client/versions", Header: map[string]string{"Cache-Control": "no-cache"}, Status: 200, JSONTrue: []string{"org.matrix.msc4140"}}},
		{Name: "Synapse serves the transports", Timeout: RouteTimeout, Hint: "set experimental_features.msc4143_enabled and restart Synapse",
			HTTP: &HTTPCheck{URL: base + "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", Status: 401, Body: "M_MISSING_TOKEN"}},
	}
}

func indent(s, by string) string {
	return by + strings.ReplaceAll(strings.TrimRight(s, "\n"), "\n", "\n"+by) + "\n"
}

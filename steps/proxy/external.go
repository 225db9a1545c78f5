package proxy

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// External is a reverse proxy that somebody else configures. It serves all
// that no other proxy block serves: what is on its host over loopback, an
// SFU on another host over the network. Without Host it may be anywhere, and
// then no port is opened to it.
type External struct {
	Host string `hcl:"host,optional"` // the host that it is on; default: anywhere, reaching auth's host
}

// ExternalVariant is any other proxy.
func ExternalVariant() steps.Variant {
	return steps.Variant{
		Block: "proxy", Label: "external", Required: true, Several: true,
		Doc:     "any other: prints what it has to serve, and checks it",
		Example: `proxy "external" { host = host.NAME }`,
		WayOut:  `write proxy "external" {}: ecdeploy then prints what it has to serve, and checks it`,
		Config:  func() steps.Config { return new(External) },
		Detect:  steps.FindsNothing,
	}
}

// HostName implements Config.
func (c *External) HostName() string { return c.Host }

// Parts implements Config.
func (c *External) Parts(d steps.Decl) []steps.Part {
	return []steps.Part{{Name: "external", Title: "the proxy", Host: d.Host, Proxy: &steps.Proxy{Foreign: true, Somewhere: c.Host == ""}}}
}

// Check implements Config.
func (c *External) Check(steps.Block, steps.Decl, *steps.Site) {}

// ByHand implements steps.ByHand.
func (*External) ByHand() string {
	return "the proxy is somebody else's: take the routes to the SFU and the JWT service out of it"
}

// Steps implements Config.
func (c *External) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	routes := s.Served(d.Host)
	var checks []steps.Check
	for _, r := range routes {
		checks = append(checks, r.ChecksAt("")...)
	}
	text := "the proxy is somebody else's; in nginx's words it needs:\n" + nginxBlocks(routes) + "or in a Caddyfile:\n" + caddyBlocks(routes)
	return []steps.Placed{{Stage: steps.StageProxy, Host: d.Host, Step: steps.LeftToOwner("proxy", text, checks)}}
}

// ByName are routes with the routes of the same public name together.
func ByName(routes []steps.Route) [][]steps.Route {
	var out [][]steps.Route
	for _, r := range routes {
		i := slices.IndexFunc(out, func(group []steps.Route) bool { return group[0].Name() == r.Name() })
		if i < 0 {
			out = append(out, []steps.Route{r})
			continue
		}
		out[i] = append(out[i], r)
	}
	return out
}

func nginxBlocks(routes []steps.Route) string {
	var b strings.Builder
	for _, group := range ByName(routes) {
		name := group[0].Name()
		fmt.Fprintf(&b,
			"server {\n    listen 443 ssl;\n    server_name %s;\n    ssl_certificate /etc/letsencrypt/live/%s/fullchain.pem;\n"+
				"    ssl_certificate_key /etc/letsencrypt/live/%s/privkey.pem;\n",
			name, name, name)
		for _, r := range group {
			b.WriteString(host.Indent(NginxLocations(r), "    ") + "\n")
		}
		b.WriteString("}\n")
	}
	return b.String()
}

// caddyBlocks need no word on upgrades and logs: Caddy passes WebSockets on,
// and logs no requests unless told to.
func caddyBlocks(routes []steps.Route) string {
	var b strings.Builder
	for _, group := range ByName(routes) {
		fmt.Fprintf(&b, "%s {\n", group[0].Name())
		slices.SortStableFunc(group, func(x, y steps.Route) int { return len(y.Prefix()) - len(x.Prefix()) })
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

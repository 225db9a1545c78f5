package steps

import (
	"context"
	"fmt"
	"net"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// What is called external is configured by somebody else: ecdeploy says what
// is needed, in the words of the thing itself, and checks that it is there.

func nothing(context.Context, host.Observer) (struct{}, error) { return struct{}{}, nil }

// ExternalProxy prints the configuration that a foreign proxy needs for routes.
func ExternalProxy(site Site, hostName string) Step {
	routes := site.Fronts[orSelf(hostName, site.Auth.Host)]
	return Define("proxy", nothing, nil, func(struct{}, Shared) (Decision, error) {
		return Decision{
			Findings: []Finding{{Note, "the proxy is somebody else's; in nginx's words it needs:\n" + nginxBlocks(routes) + "or in a Caddyfile:\n" + caddyBlocks(routes), ""}},
			Checks:   routeChecks(routes, ""),
		}, nil
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
			b.WriteString(host.Indent(locations(r), "    ") + "\n")
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

// ExternalWellKnown prints the announcement for a foreign well-known.
func ExternalWellKnown(site Site) Step {
	return Define("well-known", nothing, nil, func(struct{}, Shared) (Decision, error) {
		text := fmt.Sprintf("\"org.matrix.msc4143.rtc_foci\": [{\"type\": \"livekit\", \"livekit_service_url\": %q}]", site.Auth.URL)
		return Decision{
			Findings: []Finding{{Note, "https://" + site.Domain() + "/.well-known/matrix/client is somebody else's; it needs the key\n" + text + "\nand is to be sent as application/json with one header Access-Control-Allow-Origin: *", ""}},
			Checks:   wellKnownChecks(site, net.JoinHostPort(site.Domain(), "443"), "whoever serves it"),
		}, nil
	})
}

// ExternalSynapse prints the settings that a foreign Synapse needs.
func ExternalSynapse(site Site, c SynapseExternal) Step {
	return Define("synapse", nothing, nil, func(struct{}, Shared) (Decision, error) {
		text := fmt.Sprintf(`experimental_features:
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
# reach: names: [client, federation], or [client, openid]`, site.Auth.URL)
		base := strings.TrimRight(c.URL, "/")
		return Decision{
			Findings: []Finding{{Note, "Synapse is somebody else's; its homeserver.yaml needs (merge into sections that are there, then restart it and all its workers):\n" + text, ""}},
			Checks: []Check{
				{Name: "Synapse has delayed events on", HTTP: &HTTPCheck{URL: base + "/_matrix/client/versions", Header: map[string]string{"Cache-Control": "no-cache"}, Status: 200, JSONTrue: []string{"org.matrix.msc4140"}}, Timeout: 20 * time.Second, Hint: "set max_event_delay_duration and restart Synapse"},
				{Name: "Synapse serves the transports", HTTP: &HTTPCheck{URL: base + "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", Status: 401, Body: "M_MISSING_TOKEN"}, Timeout: 20 * time.Second, Hint: "set experimental_features.msc4143_enabled and restart Synapse"},
			},
		}, nil
	})
}

// routeChecks ask for what a client asks for, through the proxy. dial is the
// proxy's own address, "" to go by the name.
func routeChecks(routes []Route, dial string) []Check {
	upgrade := map[string]string{"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13", "Sec-WebSocket-Key": "ZWNkZXBsb3kgcHJvYmUhIQ=="}
	var out []Check
	add := func(name string, c HTTPCheck, hint string) {
		c.Dial = dial
		out = append(out, Check{Name: name, HTTP: &c, Timeout: 20 * time.Second, Hint: hint})
	}
	for _, r := range routes {
		if r.Component == "sfu" {
			add("LiveKit answers at "+r.URL, HTTPCheck{URL: r.URL + "/", Status: 200, Body: "OK"}, "404: the proxy does not strip the prefix; 502: it does not reach "+r.Upstream)
			add("WebSockets reach LiveKit at "+r.URL, HTTPCheck{URL: r.URL + "/rtc", Header: upgrade, Status: 401}, "404: the proxy does not pass Upgrade and Connection")
			continue
		}
		add("the JWT service is up at "+r.URL, HTTPCheck{URL: r.URL + "/healthz", Status: 200}, "404: the proxy does not strip the prefix; 502: it does not reach "+r.Upstream)
		add("clients reach /sfu/get at "+r.URL, HTTPCheck{URL: r.URL + "/sfu/get", Status: 405, OneHeader: "Access-Control-Allow-Origin"}, "the proxy must pass the path on and add no CORS header of its own")
	}
	return out
}

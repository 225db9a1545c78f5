package suite

import (
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// OneHost is a site whose parts are all on the host h, as plans would hand it to
// steps, behind nginx and with no file for the client well-known.
func OneHost() *steps.Site {
	return oneHost("https://matrix-rtc-sfu.example.org", "https://matrix-rtc-jwt.example.org")
}

// OneName is OneHost with both services below one public name.
func OneName(name string) *steps.Site {
	return oneHost("https://"+name+"/livekit/sfu", "https://"+name+"/livekit/jwt")
}

func oneHost(sfu, auth string) *steps.Site {
	signalling := steps.Route{Purpose: steps.Signalling, URL: sfu, Upstream: "127.0.0.1:7880", WebSocket: true, Quiet: true}
	signalling.Checks = []steps.Check{
		{Name: "LiveKit answers at " + sfu, Timeout: steps.RouteTimeout, HTTP: &steps.HTTPCheck{URL: sfu + "/", Status: 200, Body: "OK"}},
		{Name: "WebSockets reach LiveKit at " + sfu, Timeout: steps.RouteTimeout, HTTP: &steps.HTTPCheck{URL: sfu + "/rtc", Status: 401}},
	}
	tokens := steps.Route{Purpose: steps.Tokens, URL: auth, Upstream: "127.0.0.1:8080", CORS: true}
	tokens.Checks = []steps.Check{
		{Name: "the JWT service is up at " + auth, Timeout: steps.RouteTimeout, HTTP: &steps.HTTPCheck{URL: auth + "/healthz", Status: 200}},
		{Name: "clients reach /sfu/get at " + auth, Timeout: steps.RouteTimeout, HTTP: &steps.HTTPCheck{URL: auth + "/sfu/get", Status: 405}},
	}
	return &steps.Site{Name: "example.org", Parts: []steps.Part{
		{
			Name: "sfu", Title: "the SFU", Host: "h", Routes: []steps.Route{signalling}, Addresses: []string{"198.51.100.7"}, Participants: 40,
			Run: &steps.Run{Container: "livekit-sfu", Image: "livekit/livekit-server:v1", UID: 10030},
			Listens: []steps.Listen{
				{Proto: "tcp", Bind: "127.0.0.1", First: 7880, Last: 7880, For: steps.ForProxies},
				{Proto: "tcp", First: 7881, Last: 7881, For: steps.ForWorld},
				{Proto: "udp", First: 50100, Last: 50200, For: steps.ForWorld},
			},
		},
		{
			Name: "auth", Title: "the JWT service", Host: "h", Routes: []steps.Route{tokens}, Needs: steps.CallNeeds(auth),
			Run:     &steps.Run{Container: "element-call-jwt", Image: "jwt:1", UID: 10033},
			Listens: []steps.Listen{{Proto: "tcp", Bind: "127.0.0.1", First: 8080, Last: 8080, For: steps.ForHost}},
			Resolves: []steps.Resolve{
				{Of: steps.Signalling, Why: "the JWT service calls LiveKit by that name"},
				{Name: "example.org", Why: "the JWT service finds the homeserver by that name"},
			},
		},
		{Name: "nginx", Title: "the proxy", Host: "h", Proxy: new(steps.Proxy)},
	}}
}

func Keys() livekit.Keys {
	return livekit.Keys{Key: host.NewSecret(strings.Repeat("k", 48)), Secret: host.NewSecret(strings.Repeat("s", 48))}
}

// WithWellKnown adds a static file for the client well-known on h.
func WithWellKnown(s *steps.Site, path string) *steps.Site {
	s.Parts = append(s.Parts, steps.Part{Name: "well-known", Title: "the announcement", Host: "h",
		Routes: []steps.Route{{Purpose: steps.Announce, URL: "https://example.org/.well-known/matrix/client", File: path}}})
	return s
}

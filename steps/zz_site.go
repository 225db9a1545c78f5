package steps

import (
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
)

// OneHost is a site whose parts are all on the host h, as plans would hand it to
// steps, behind nginx and with no file for the client well-known.
func OneHost() *Site {
	return oneHost("https://matrix-rtc-sfu.example.org", "https://matrix-rtc-jwt.example.org")
}

// OneName is OneHost with both services below one public name.
func OneName(name string) *Site {
	return oneHost("https://"+name+"/livekit/sfu", "https://"+name+"/livekit/jwt")
}

func oneHost(sfu, auth string) *Site {
	signalling := Route{Purpose: Signalling, URL: sfu, Upstream: "127.0.0.1:7880", WebSocket: true, Quiet: true}
	signalling.Checks = []Check{
		{Name: "LiveKit answers at " + sfu, Timeout: RouteTimeout, HTTP: &HTTPCheck{URL: sfu + "/", Status: 200, Body: "OK"}},
		{Name: "WebSockets reach LiveKit at " + sfu, Timeout: RouteTimeout, HTTP: &HTTPCheck{URL: sfu + "/rtc", Status: 401}},
	}
	tokens := Route{Purpose: Tokens, URL: auth, Upstream: "127.0.0.1:8080", CORS: true}
	tokens.Checks = []Check{
		{Name: "the JWT service is up at " + auth, Timeout: RouteTimeout, HTTP: &HTTPCheck{URL: auth + "/healthz", Status: 200}},
		{Name: "clients reach /sfu/get at " + auth, Timeout: RouteTimeout, HTTP: &HTTPCheck{URL: auth + "/sfu/get", Status: 405}},
	}
	return &Site{Name: "example.org", Parts: []Part{
		{
			Name: "sfu", Title: "the SFU", Host: "h", Routes: []Route{signalling}, Addresses: []string{"198.51.100.7"}, Participants: 40,
			Run: &Run{Container: "livekit-sfu", Image: "livekit/livekit-server:v1", UID: 10030},
			Listens: []Listen{
				{Proto: "tcp", Bind: "127.0.0.1", First: 7880, Last: 7880, For: ForProxies},
				{Proto: "tcp", First: 7881, Last: 7881, For: ForWorld},
				{Proto: "udp", First: 50100, Last: 50200, For: ForWorld},
			},
		},
		{
			Name: "auth", Title: "the JWT service", Host: "h", Routes: []Route{tokens}, Needs: CallNeeds(auth),
			Run:     &Run{Container: "element-call-jwt", Image: "jwt:1", UID: 10033},
			Listens: []Listen{{Proto: "tcp", Bind: "127.0.0.1", First: 8080, Last: 8080, For: ForHost}},
			Resolves: []Resolve{
				{Of: Signalling, Why: "the JWT service calls LiveKit by that name"},
				{Name: "example.org", Why: "the JWT service finds the homeserver by that name"},
			},
		},
		{Name: "nginx", Title: "the proxy", Host: "h", Proxy: new(Proxy)},
	}}
}

func TestKeys() livekit.Keys {
	return livekit.Keys{Key: host.NewSecret(strings.Repeat("k", 48)), Secret: host.NewSecret(strings.Repeat("s", 48))}
}

// WithWellKnown adds a static file for the client well-known on h.
func WithWellKnown(s *Site, path string) *Site {
	s.Parts = append(s.Parts, Part{Name: "well-known", Title: "the announcement", Host: "h",
		Routes: []Route{{Purpose: Announce, URL: "https://example.org/.well-known/matrix/client", File: path}}})
	return s
}

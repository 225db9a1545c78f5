package rtc

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/matrix"
	"github.com/emdecloud/ecdeploy/steps"
)

// origin is what a browser says where it asks from.
const origin = "https://app.element.io"

const (
	pathVersions   = "/_matrix/client/versions"
	pathTransports = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"
)

// lookAtHomeserver looks at what tells clients where calls are.
func (k *verifier) lookAtHomeserver(ctx context.Context) {
	needs := []string{"tls." + k.baseName()}
	if k.Homeserver != nil && k.Homeserver.Configured() {
		k.all(ctx, linkCheck{id: "synapse.config", name: "Synapse's effective configuration", part: Homeserver, do: k.synapseConfig})
	}
	k.all(ctx,
		linkCheck{id: "well-known", name: "the client well-known of " + k.Site.Domain(), part: Homeserver,
			needs: []string{"tls.server"}, via: "server", do: k.wellKnown})
	do := func(see func(context.Context) result) func(context.Context) result {
		if k.base != "" {
			return see
		}
		return func(context.Context) result {
			return unseen("the client well-known does not say where the homeserver is")
		}
	}
	if k.base == "" {
		needs = []string{"tls.server", "well-known"}
	}
	k.all(ctx,
		linkCheck{id: "synapse.versions", name: "what Synapse says it can do", part: Homeserver, needs: needs, via: k.baseName(), do: do(k.versions)},
		linkCheck{id: "synapse.transports", name: "Synapse's list of transports", part: Homeserver, needs: needs, via: k.baseName(), do: do(k.transports)})
}

// lackCodes are causes by the beginning of a setting's path.
var lackCodes = []struct {
	path string
	code Code
}{
	{"experimental_features.msc4143", "flag-off"},
	{"matrix_rtc", "transports-empty"},
	{"max_event_delay_duration", "delayed-events-off"},
	{"listeners", "no-openid-listener"},
	{"rc_", "rate-limits"},
	{"experimental_features.", "sync-flag-off"},
}

func (k *verifier) synapseConfig(ctx context.Context) result {
	s, err := k.Homeserver.State(ctx, k.Hosts[k.HomeserverHost], k.Site)
	if err != nil {
		return unseen(err.Error())
	}
	var r result
	switch {
	case s.Problem != "":
		r = unseen(s.Problem)
	case !s.Active:
		r = bad("synapse-down", HostSide, s.Unit+" is not active")
	case len(s.Lacks) > 0:
		r = lacking(s.Lacks)
	default:
		r = good(fmt.Sprintf("%d settings are as calls need them", s.Settings))
	}
	if s.Problem == "" {
		k.config = &s
	}
	r.from = k.HomeserverHost
	return r
}

// lacking names the worst of what is missing: it is what people meet first.
func lacking(lacks []steps.Lack) result {
	var lines []string
	for _, l := range lacks {
		have := l.Have
		if have == "" {
			have = "not set"
		}
		lines = append(lines, fmt.Sprintf("%s is %s, and calls need %s", l.Path, have, l.Want))
	}
	for _, c := range lackCodes {
		for _, l := range lacks {
			if !strings.HasPrefix(l.Path, c.path) {
				continue
			}
			code := c.code
			if code == "transports-empty" && l.Have != "" && l.Have != "[]" {
				code = "transports-url"
			}
			return bad(code, HostSide, lines...)
		}
	}
	return bad("flag-off", HostSide, lines...)
}

// configured reports whether Synapse's files have all that calls need: then what
// it does not say over HTTP was not read yet.
func (k *verifier) configured() bool { return k.config != nil && len(k.config.Lacks) == 0 }

// local asks Synapse on its own host, past all proxies and caches.
func (k *verifier) local(ctx context.Context, path string) (status int, body []byte, ok bool) {
	if k.config == nil || k.config.Local == "" {
		return 0, nil, false
	}
	resp, body, err := matrix.Get(ctx, k.client(on(k.Hosts[k.HomeserverHost]), nil), k.config.Local+path, nil)
	if err != nil {
		return 0, nil, true
	}
	return resp.StatusCode, body, true
}

// notThere is why a path of Synapse's is not answered as it should: what Synapse
// itself says decides.
func (k *verifier) notThere(ctx context.Context, path string, right func(status int, body []byte) bool, off Code, evidence string) result {
	status, body, asked := k.local(ctx, path)
	switch {
	case asked && status == 0:
		return bad("synapse-down", HostSide, evidence, "on "+k.HomeserverHost+" itself it does not answer, either")
	case asked && right(status, body):
		return bad("synapse-path", HostSide, evidence, "on "+k.HomeserverHost+" itself it answers right")
	case k.configured():
		return bad("synapse-not-restarted", HostSide, evidence, "its files are right, and it answers as if they were not")
	}
	return bad(off, HostSide, evidence)
}

func (k *verifier) versions(ctx context.Context) result {
	url := k.base + pathVersions
	flags := func(body []byte) (missing string) {
		var v struct {
			Flags map[string]bool `json:"unstable_features"`
		}
		if json.Unmarshal(body, &v) != nil {
			return "no JSON"
		}
		switch {
		case !v.Flags["org.matrix.msc4140"]:
			return "org.matrix.msc4140"
		case !v.Flags["org.matrix.msc4143"] && k.config != nil && k.config.Advert:
			return "org.matrix.msc4143"
		}
		return ""
	}
	right := func(status int, body []byte) bool { return status == http.StatusOK && flags(body) == "" }
	// Caches may keep the answer for an hour; a query of our own is nobody's.
	a := k.ask(ctx,
		k.baseName(), http.MethodGet,
		fmt.Sprintf("%s?ecdeploy=%x", url, newNonce()),
		map[string]string{"Cache-Control": "no-cache"},
		"", "synapse-path")
	switch {
	case a.lost != nil && a.lost.side != HostSide:
		return *a.lost
	case a.lost != nil:
		return k.notThere(ctx, pathVersions, right, "synapse-path", strings.Join(a.lost.evidence, "; "))
	case a.StatusCode != http.StatusOK:
		return k.notThere(ctx, pathVersions, right, "synapse-path", answers(a.StatusCode, url))
	}
	switch missing := flags(a.body); missing {
	case "":
		return good("delayed events are on (org.matrix.msc4140)")
	case "org.matrix.msc4143":
		return k.notThere(ctx, pathVersions, right, "flag-off", url+" says that "+missing+" is off")
	default:
		return k.notThere(ctx, pathVersions, right, "delayed-events-off", url+" says that "+missing+" is off")
	}
}

func (k *verifier) transports(ctx context.Context) result {
	url := k.base + pathTransports
	right := func(status int, body []byte) bool {
		return status == http.StatusUnauthorized && strings.Contains(string(body), "M_MISSING_TOKEN")
	}
	a := k.ask(ctx, k.baseName(), http.MethodGet, url, map[string]string{"Cache-Control": "no-cache"}, "", "synapse-path")
	switch {
	case a.lost != nil && a.lost.side != HostSide:
		return *a.lost
	case a.lost != nil:
		return k.notThere(ctx, pathTransports, right, "synapse-path", strings.Join(a.lost.evidence, "; "))
	case !right(a.StatusCode, a.body):
		return k.notThere(ctx, pathTransports, right, "flag-off", answers(a.StatusCode, url)+", not 401 M_MISSING_TOKEN")
	}
	return good("it is there (401 M_MISSING_TOKEN without a token)")
}

// wellKnown compares what clients get with what its own server sends: what lies
// between may keep it for a day.
func (k *verifier) wellKnown(ctx context.Context) result {
	server := k.named("server")
	url := "https://" + net.JoinHostPort(server.host, server.port) + "/.well-known/matrix/client"
	if server.port == "443" {
		url = "https://" + server.host + "/.well-known/matrix/client"
	}
	a := k.ask(ctx, "server", http.MethodGet, url, map[string]string{"Origin": origin}, "", "well-known-gone")
	if a.lost != nil {
		return *a.lost
	}
	r := k.announces(url, a.Response, a.body)
	if v, ok := k.frontVantage(server); ok && r.status == Failed && server.route.name == laptop {
		if resp, body, err := matrix.Get(ctx,
			k.client(v, k.Roots), url,
			map[string]string{"Origin": origin}); err == nil && k.announces(url, resp, body).status == OK {
			return bad("well-known-cached", WaySide, append(r.evidence, "from "+v.name+" it is right")...)
		}
	}
	return r
}

func (k *verifier) announces(url string, resp *http.Response, body []byte) result {
	kind, _, _ := strings.Cut(resp.Header.Get("Content-Type"), ";")
	switch {
	case resp.StatusCode != http.StatusOK:
		return bad("well-known-gone", HostSide, answers(resp.StatusCode, url), resp.Header.Get("Location"))
	case !strings.EqualFold(strings.TrimSpace(kind), "application/json"):
		return bad("well-known-type", HostSide, fmt.Sprintf("%s is sent as %q", url, resp.Header.Get("Content-Type")))
	}
	if r := oneOrigin(url, resp.Header); r.status == Failed {
		return r
	}
	var v struct {
		Foci []struct {
			Type string `json:"type"`
			URL  string `json:"livekit_service_url"`
		} `json:"org.matrix.msc4143.rtc_foci"`
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return bad("well-known-type", HostSide, url+" is no JSON: "+err.Error())
	}
	want := k.Auth.URL
	for _, f := range v.Foci {
		switch {
		case f.Type != "livekit":
		case f.URL == want:
			return good("announces " + want)
		case strings.TrimRight(f.URL, "/") == want:
			return bad("trailing-slash", HostSide, fmt.Sprintf("announces %q", f.URL))
		default:
			return bad("well-known-url", HostSide, fmt.Sprintf("announces %q, and the JWT service is at %q", f.URL, want))
		}
	}
	return bad("well-known-empty", HostSide, url+" has no org.matrix.msc4143.rtc_foci of type livekit")
}

// oneOrigin wants exactly one Access-Control-Allow-Origin: *, as browsers do
// (Fetch standard, "CORS check").
func oneOrigin(url string, h http.Header) result {
	switch v := h.Values("Access-Control-Allow-Origin"); {
	case len(v) == 0:
		return bad("cors-missing", HostSide, url+" sends no Access-Control-Allow-Origin")
	case len(v) > 1 || strings.Contains(v[0], ","):
		return bad("cors-twice", HostSide, fmt.Sprintf("%s sends Access-Control-Allow-Origin %d times: %q", url, len(v), v))
	case v[0] != "*" && v[0] != origin:
		return bad("cors-missing", HostSide, fmt.Sprintf("%s allows the origin %q alone", url, v[0]))
	}
	return result{}
}

// baseURL is m.homeserver.base_url of a client well-known; "" for none.
func baseURL(body []byte) string {
	var v struct {
		Homeserver struct {
			URL string `json:"base_url"`
		} `json:"m.homeserver"`
	}
	if json.Unmarshal(body, &v) != nil || !strings.HasPrefix(v.Homeserver.URL, "https://") || hostOf(v.Homeserver.URL) == "" {
		return ""
	}
	return strings.TrimRight(v.Homeserver.URL, "/")
}

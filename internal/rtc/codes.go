package rtc

import "strings"

// Code names one cause, the same in every report.
type Code string

// Explanation has words for a code.
type Explanation struct {
	Code    Code     `json:"code"`
	Element []string `json:"element,omitempty"` // what Element shows, its own error codes among it
	Sees    string   `json:"sees"`              // what a person sees
	Why     string   `json:"why"`
	Do      string   `json:"do"`
	Command string   `json:"command,omitempty"` // where ecdeploy can do it
}

const apply = "ecdeploy apply FILE"

// What Element shows; the codes in capitals are Element Call's (element-hq/element-call
// src/utils/errors.ts, v0.24).
const (
	noTransport = "MISSING_MATRIX_RTC_TRANSPORT"
	noFocus     = "MISSING_MATRIX_RTC_FOCUS" // its name before
	openIDError = "OPEN_ID_ERROR"
	sfuError    = "SFU_ERROR"
	noAuth      = "NO_MATRIX_2_0_AUTHORIZATION_SERVICE"
	lost        = "CONNECTION_LOST_ERROR"
	members     = "INTERNAL_MEMBERSHIP_MANAGER"
	capacity    = "INSUFFICIENT_CAPACITY_ERROR"
	waiting     = "Waiting for media"
	eighteen    = "calls end after 18 s"
)

var (
	noCall   = []string{noTransport, noFocus}
	noToken  = []string{openIDError}
	noMedia  = []string{waiting, sfuError}
	noSFU    = []string{sfuError}
	dropping = []string{eighteen, members}
)

// explanations are in the order of a call. Whatever stands here is what a report
// may say; a test holds that each code in use has its words.
var explanations = []Explanation{
	{"clock", nil, "nothing, if only the laptop's clock is wrong: calls of others work", "the laptop's clock and the host's differ, and tokens and certificates are good for a time only", "set the laptop's clock (timedatectl set-ntp true)", ""},
	{"host-clock", noSFU, "joining a call fails, or works for some only", "the clocks of the site's hosts differ, and LiveKit refuses tokens of another time", "let the hosts' clocks be set: timedatectl set-ntp true", ""},
	{"disk-full", []string{members, eighteen}, "messages and calls fail at random", "a disk of the host has no room left", "make room: df -h, journalctl --vacuum-size=200M, docker image prune", ""},
	{"no-docker", noSFU, "nobody can join a call", "the Docker engine of the host does not answer", "systemctl status docker", ""},
	{"livekit-gone", noSFU, "nobody can join a call", "there is no LiveKit container on its host", "deploy it", apply},
	{"livekit-down", noSFU, "nobody can join a call", "LiveKit's container does not run", "docker logs livekit-sfu says why; start it, or deploy it anew", apply},
	{"livekit-restarts", noSFU, "nobody can join a call, or calls break off at once", "LiveKit ends and is started again and again; on a bad configuration it does so without an error", "docker logs livekit-sfu says why; where a file of it was changed, deploy it anew", apply},
	{"livekit-stun", noSFU, "nobody can join a call", "LiveKit wants to ask a STUN server for its public address, gets no answer, and ends", "write the public address as node_ip in sfu {} instead of external_ip = true", apply},
	{"docker-proxies", []string{capacity}, "the host runs out of memory; calls break off", "Docker runs one docker-proxy for each published UDP port of LiveKit", "let LiveKit use the host's network, as ecdeploy deploys it", apply},
	{"unhealthy", noToken, "nobody can join a call, though everything runs", "Docker calls the container unhealthy, and some proxies then send it nothing: the health check of the JWT service's image is broken", "run it without the image's health check, as ecdeploy deploys it", apply},
	{"jwt-gone", noToken, "nobody can join a call", "there is no container of the JWT service on its host", "deploy it", apply},
	{"jwt-down", noToken, "nobody can join a call", "the JWT service does not run", "docker logs element-call-jwt says why; start it, or deploy it anew", apply},
	{"jwt-restarts", noToken, "nobody can join a call", "the JWT service ends and is started again and again", "docker logs element-call-jwt says why", apply},
	{"jwt-full-access", noToken, "nobody can start a call", "LIVEKIT_FULL_ACCESS_HOMESERVERS of the JWT service does not have this server's name: since 0.5.0 it does not start without it, and servers that are not in it may not make rooms", "name the server in full_access of auth {}", apply},
	{"livekit-url", noSFU, "joining a call fails: the client is sent to a wrong address", "LIVEKIT_URL of the JWT service is not LiveKit's public address: it is what clients are told, with its path, and what the service itself calls", "make it the wss:// form of the sfu's url", apply},
	{"name-unknown", []string{noTransport, openIDError, sfuError}, "nobody whose resolver does not know the name can join", "DNS has no address for the name here; a new record can take hours to spread", "make an A record (and AAAA, if the host has IPv6) that names the proxy's host", ""},
	{"name-elsewhere", []string{noTransport, openIDError, sfuError}, "nobody can join a call", "the name leads to a machine that does not serve this site", "correct the A and AAAA records; the evidence has both addresses", ""},
	{"https-closed", []string{noTransport, openIDError, sfuError}, "nobody can join a call", "nothing on the host answers HTTPS at the name, or its own firewall does not let it in", "systemctl status nginx; ufw allow 443/tcp", ""},
	{"https-blocked", nil, "who sits behind the same obstacle cannot join", "HTTPS works on the host itself and does not get from here to there", "open 443/tcp in the firewall in front of the host, or try another network", ""},
	{"certificate-expired", []string{noTransport, openIDError, sfuError}, "clients refuse the connection: nobody can join", "the certificate is not valid now", "renew it: certbot renew, then systemctl reload nginx", ""},
	{"certificate-name", []string{noTransport, openIDError, sfuError}, "clients refuse the connection: nobody can join", "the certificate is for other names", "get one that has this name: certbot certonly -d NAME", ""},
	{"certificate-untrusted", []string{noTransport, openIDError, sfuError}, "clients refuse the connection: nobody can join; phones more often than browsers", "the certificate's chain does not lead to a CA that is trusted here: its intermediate is missing, or the CA is private", "serve fullchain.pem, not cert.pem; for a private CA name it as verify { ca_file }", ""},
	{"certificate-soon", nil, "nothing yet", "the certificate ends soon, and nothing has renewed it", "certbot renew", ""},
	{"flag-off", noCall, "the call button is missing or says that calls are not set up", "experimental_features.msc4143_enabled is off: Synapse does not tell clients where calls are", "switch it on together with matrix_rtc.transports", apply},
	{"transports-empty", noCall, "the call button says that calls are not set up, for a day even after it was mended", "matrix_rtc.transports is empty while msc4143_enabled is on: clients take {} as the answer and do not look further", "list the JWT service there", apply},
	{"transports-url", noToken, "joining a call fails", "matrix_rtc.transports names another JWT service than the plan file", "make both the same", apply},
	{"delayed-events-off", dropping, "people whose connection broke stay in the call for ever, or everybody leaves after 18 s", "delayed events are off: max_event_delay_duration is not set (there is no msc4140_enabled)", "set max_event_delay_duration: 24h", apply},
	{"sync-flag-off", []string{members}, "calls start late or not at all in some rooms", "experimental_features.msc4222_enabled is off", "switch it on", apply},
	{"rate-limits", dropping, "everybody leaves after 18 s, or joins late, once several people call", "Synapse's limits for messages or delayed events are lower than Element Call needs: its clients are told to wait", "raise rc_message to 0.5/30 and rc_delayed_event_mgmt to 1/20", apply},
	{"synapse-not-restarted", noCall, "the call button is missing, though homeserver.yaml is right", "Synapse runs with its settings from before: it reads them when it starts, and a reload does not", "systemctl restart matrix-synapse, and all its workers", ""},
	{"synapse-down", noCall, "nobody can log in, write or call", "Synapse does not answer on its host", "systemctl status matrix-synapse; journalctl -u matrix-synapse", ""},
	{"synapse-path", noCall, "the call button is missing", "Synapse itself answers right, and the proxy before it does not pass the path on, or a cache answers in its place", "pass all of /_matrix to Synapse", ""},
	{"well-known-gone", noCall, "apps that rely on .well-known cannot call", "/.well-known/matrix/client is not served", "serve it from the site's own name, without a redirect", apply},
	{"well-known-type", noCall, "apps that rely on .well-known cannot call", "/.well-known/matrix/client is not sent as JSON", "send it as application/json, and nothing but JSON", ""},
	{"well-known-empty", noCall, "apps that rely on .well-known cannot call", "the client well-known does not announce the backend in org.matrix.msc4143.rtc_foci", "add it", apply},
	{"well-known-url", noToken, "joining a call fails", "the client well-known announces another JWT service than the plan file", "make both the same", apply},
	{"well-known-cached", noCall, "apps that rely on .well-known cannot call yet", "what answers here for /.well-known/matrix/client is not what its own server sends: a cache between, or another machine", "empty the cache in front of the server, or wait until it has forgotten", ""},
	{"trailing-slash", noToken, "joining a call fails in the browser", "the announced URL ends in a slash: clients then ask for //sfu/get, and a redirect ends their preflight", "announce it without the slash", apply},
	{"cors-missing", []string{noTransport, openIDError}, "web clients cannot call, apps can", "the answer has no Access-Control-Allow-Origin: *, and browsers keep it from the page", "add the header: add_header Access-Control-Allow-Origin *", ""},
	{"cors-twice", []string{noTransport, openIDError}, "web clients cannot call, apps can", "the answer has Access-Control-Allow-Origin twice, which browsers refuse", "let one of both send it: for the JWT service, the service alone", ""},
	{"preflight", noToken, "web clients cannot join, apps can", "the request that a browser sends first (OPTIONS) is not answered as the JWT service answers it", "pass OPTIONS on to the JWT service", ""},
	{"prefix-not-stripped", []string{openIDError, sfuError}, "joining a call fails", "the proxy passes the URL's path on to the service, which does not know it", "in nginx: a slash at the end of location and of proxy_pass", apply},
	{"path-not-routed", []string{openIDError, noAuth}, "joining a call fails", "the proxy does not lead this path to the JWT service", "pass all paths on", apply},
	{"proxy-wrong-port", []string{openIDError, sfuError}, "joining a call fails", "the proxy does not reach the service, which runs: a wrong port or address", "correct proxy_pass", apply},
	{"no-openid-listener", noToken, "joining a call fails", "no listener of Synapse serves the resource openid or federation where server discovery leads: the JWT service cannot ask who a user is", "add openid to the names of a listener's resources", apply},
	{"openid-unreachable", noToken, "joining a call fails", "from the JWT service's host the homeserver is not where server discovery leads", "serve /.well-known/matrix/server as {\"m.server\": \"matrix.example.org:443\"}, or open 8448", ""},
	{"openid-certificate", noToken, "joining a call fails", "the JWT service does not trust the certificate where server discovery leads", "serve a whole chain for that name; for a private CA set ca_file in auth {}", ""},
	{"hairpin", []string{openIDError, sfuError}, "joining a call fails, though all looks right from outside", "the host does not reach its own public name: its router or firewall does not send its own address back (hairpin NAT)", "put the names into the host's /etc/hosts, or let the firewall pass it", ""},
	{"secret-differs", noSFU, "joining a call fails: unable to create room on SFU", "the JWT service and LiveKit have different LIVEKIT_KEY or LIVEKIT_SECRET", "give both the same", apply},
	{"key-unknown", noSFU, "joining a call fails", "LiveKit does not accept the site's credentials, which lie in its own key file: it was not restarted since they changed", "restart it", apply},
	{"twirp-blocked", noSFU, "joining a call fails: unable to create room on SFU", "the proxy does not pass /twirp to LiveKit, through which the JWT service makes rooms", "pass all paths of LiveKit's address on", apply},
	{"auto-create-on", nil, "anybody with a token can make rooms", "LiveKit makes rooms for whoever asks: who may start calls is then not held", "room: auto_create: false", apply},
	{"no-upgrade", noSFU, "joining a call fails", "the proxy does not pass WebSockets on", "in nginx: proxy_http_version 1.1 and the headers Upgrade and Connection", apply},
	{"proxy-timeout", []string{lost, eighteen}, "the connection breaks and comes back again and again", "the proxy ends a WebSocket that is silent for a few seconds", "raise proxy_read_timeout and proxy_send_timeout to 3600s", apply},
	{"signalling-lost", []string{lost, sfuError}, "the call ends by itself", "LiveKit or the proxy ended the connection", "docker logs livekit-sfu", ""},
	{"wrong-address", noMedia, "Waiting for media, for ever", "LiveKit tells clients an address that is none of its host's", "correct node_ip in sfu {}, or remove it", apply},
	{"private-address", noMedia, "Waiting for media, but for people in the same network", "LiveKit tells clients an address that the internet does not route", "write the public address as node_ip in sfu {}", apply},
	{"bridge-candidate", noMedia, "Waiting for media, now and then or for ever", "LiveKit tells clients addresses of Docker's bridges, which nobody can reach", "limit LiveKit to the interface that holds the public address: interfaces in sfu {}", apply},
	{"port-outside", noMedia, "Waiting for media", "LiveKit uses a port outside the range that is open", "make ports { udp } and LiveKit's configuration the same", apply},
	{"no-candidates", noMedia, "Waiting for media", "LiveKit names no address of this kind at all", "docker logs livekit-sfu", apply},
	{"firewall-udp", noMedia, "Waiting for media, or a bad picture over TCP", "the host's own firewall drops the UDP ports of media", "take away the rule that the evidence names; ecdeploy opens what is not open yet", apply},
	{"firewall-tcp", noMedia, "people whose network blocks UDP cannot take part", "the host's own firewall drops LiveKit's TCP port", "take away the rule that the evidence names; ecdeploy opens what is not open yet", apply},
	{"blocked-udp", noMedia, "Waiting for media, or a bad picture over TCP", "UDP packets leave here and never arrive at the host: a firewall in front of it (a cloud's, a router's) or this network drops them", "open the UDP range in the provider's firewall or the router; from another network it may work", ""},
	{"blocked-tcp", noMedia, "people whose network blocks UDP cannot take part", "connections to LiveKit's TCP port leave here and never arrive at the host", "open it in the provider's firewall or the router", ""},
	{"laptop-udp", nil, "who sits in the same network has no UDP: a bad picture over TCP", "no UDP gets from here to any host of the plan: this network blocks it", "try another network; others may well be able to call", ""},
	{"laptop-network", nil, "nothing, if only this network is the cause", "this machine has no way to the address", "try another network", ""},
	{"not-listening", noMedia, "Waiting for media", "the packets arrive at the host, its firewall lets them in, and nobody listens there", "docker logs livekit-sfu", apply},
	{"return-path", noMedia, "Waiting for media", "packets reach the host and its answers do not get back", "let the host's firewall, or the one in front of it, pass what goes out", ""},
	{"turn", noMedia, "people whose network blocks all but TLS cannot take part", "LiveKit names TURN servers to its clients, and no media comes through them", "open their ports, and the range of relays, on the host and in front of it; or switch TURN off in LiveKit's configuration", ""},
	{"media-lost", noMedia, "a broken picture and sound", "much of the media does not arrive", "look at the host's load and its line: top, mtr", ""},
	{"media", noMedia, "Waiting for media", "no media arrived, and neither the host's firewall nor the way explains it", "docker logs livekit-sfu", ""},
	{"load", []string{capacity}, "calls of this size have a bad picture", "some of so many participants got nothing, or lost much: the host has too few UDP ports or too little power for them, or this laptop, which plays them all, has", "where the plan file says no more than that, look from a stronger machine; else widen ports { udp }, lower participants in sfu {}, or take a larger host", ""},
	{"token-refused", nil, "nothing; the access token that was given is not good", "the homeserver does not accept the access token", "log in anew, and give the new token", ""},
	{"openid-token", noToken, "joining a call fails", "the homeserver gives its user no OpenID token", "journalctl -u matrix-synapse", ""},
	{"jwt-refused", noToken, "joining a call fails", "the JWT service refuses a user of its own homeserver: it cannot ask the homeserver, or may not make the room", "docker logs element-call-jwt says why", ""},
	{"claims", noSFU, "joining a call fails", "the token of the JWT service does not allow what a call needs", "use a release that ecdeploy knows", apply},
	{"delayed-event", dropping, "everybody leaves after 18 s, or never", "the homeserver does not take a delayed event of its user", "set max_event_delay_duration and the rate limits", apply},
	{"not-restricted", nil, "users of any homeserver can start calls here", "the JWT service makes rooms for users of other homeservers", "name only your own server in full_access of auth {}", apply},
}

func explanation(c Code) (Explanation, bool) {
	for _, e := range explanations {
		if e.Code == c {
			return e, true
		}
	}
	return Explanation{}, false
}

// Explain are the explanations of a code of ours, or of all that can be behind
// what Element shows: one of its codes, or words like "Waiting for media". Case,
// and what is around the words, do not matter.
func Explain(what string) []Explanation {
	plain := func(s string) string {
		return strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }), " ")
	}
	asked := plain(what)
	if asked == "" {
		return nil
	}
	var out []Explanation
	for _, e := range explanations {
		if plain(string(e.Code)) == asked {
			return []Explanation{e}
		}
		for _, shown := range e.Element {
			if s := plain(shown); s == asked || strings.Contains(asked, s) || len(asked) >= 6 && strings.Contains(s, asked) {
				out = append(out, e)
				break
			}
		}
	}
	return out
}

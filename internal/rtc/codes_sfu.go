package rtc

// sfuCodes explain rooms and signalling of LiveKit.
var sfuCodes = []Explanation{
	{
		Code:    "secret-differs",
		Element: noSFU,
		Sees:    "joining a call fails: unable to create room on SFU",
		Why:     "the JWT service and LiveKit have different LIVEKIT_KEY or LIVEKIT_SECRET",
		Do:      "give both the same",
		Command: apply,
	},
	{
		Code:    "key-unknown",
		Element: noSFU,
		Sees:    "joining a call fails",
		Why:     "LiveKit does not accept the site's credentials, which lie in its own key file: it was not restarted since they changed",
		Do:      "restart it",
		Command: apply,
	},
	{
		Code:    "twirp-blocked",
		Element: noSFU,
		Sees:    "joining a call fails: unable to create room on SFU",
		Why:     "the proxy does not pass /twirp to LiveKit, through which the JWT service makes rooms",
		Do:      "pass all paths of LiveKit's address on",
		Command: apply,
	},
	{
		Code:    "auto-create-on",
		Sees:    "anybody with a token can make rooms",
		Why:     "LiveKit makes rooms for whoever asks: who may start calls is then not held",
		Do:      "room: auto_create: false",
		Command: apply,
	},
	{
		Code:    "no-upgrade",
		Element: noSFU,
		Sees:    "joining a call fails",
		Why:     "the proxy does not pass WebSockets on",
		Do:      "in nginx: proxy_http_version 1.1 and the headers Upgrade and Connection",
		Command: apply,
	},
	{
		Code:    "proxy-timeout",
		Element: []string{lost, eighteen},
		Sees:    "the connection breaks and comes back again and again",
		Why:     "the proxy ends a WebSocket that is silent for a few seconds",
		Do:      "raise proxy_read_timeout and proxy_send_timeout to 3600s",
		Command: apply,
	},
	{
		Code:    "signalling-lost",
		Element: []string{lost, sfuError},
		Sees:    "the call ends by itself",
		Why:     "LiveKit or the proxy ended the connection",
		Do:      "docker logs livekit-sfu",
	},
}

package steps

import "time"

// Check is one look at whether something works, made after the changes of its
// step and by `status`. It is plain data; the engine carries it out.
type Check struct {
	Name      string          `json:"name"` // "LiveKit answers"
	HTTP      *HTTPCheck      `json:"http,omitempty"`
	Identity  *IdentityCheck  `json:"identity,omitempty"`
	Container *ContainerCheck `json:"container,omitempty"`
	Timeout   time.Duration   `json:"timeout"`        // of all tries together
	Logs      string          `json:"logs,omitempty"` // container or unit whose last lines explain a failure: "docker:NAME" or "unit:NAME"
	Hint      string          `json:"hint,omitempty"`
}

// HTTPCheck is a request sent from the host's point of view.
type HTTPCheck struct {
	URL        string            `json:"url"`
	Dial       string            `json:"dial,omitempty"` // address to connect to instead of the URL's: "127.0.0.1:443"
	Header     map[string]string `json:"header,omitempty"`
	Status     int               `json:"status"`
	Body       string            `json:"body,omitempty"`        // must be contained
	OneHeader  string            `json:"one_header,omitempty"`  // must be there exactly once, with the value *
	JSONTrue   []string          `json:"json_true,omitempty"`   // keys below "unstable_features" that must be true
	LiveKitURL string            `json:"livekit_url,omitempty"` // service URL that rtc_foci must announce exactly
	Unsaid     string            `json:"unsaid,omitempty"`      // must not be contained; no answer at all is as good
	Public     bool              `json:"public,omitempty"`      // trust no CA but those of the system
}

// IdentityCheck asks the homeserver of ServerName whose an OpenID token is, on the
// way that the JWT service goes: server discovery, then the federation API
// (Matrix specification, Server-Server API, "Server discovery" and "OpenID").
// The token is made up, so the right answer is that it is unknown.
type IdentityCheck struct {
	ServerName string `json:"server_name"`
	Public     bool   `json:"public"` // trust no CA but those of the system
}

// ContainerCheck asks for a container that runs and does not restart for
// Steady.
type ContainerCheck struct {
	Name   string        `json:"name"`
	Steady time.Duration `json:"steady"`
}

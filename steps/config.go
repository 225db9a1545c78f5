package steps

import "time"

// This file holds what a plan file says about a site's components. The hcl
// tags name the attributes; plans decodes into these structs and checks them.
// Defaults are filled by plans before a step sees a config.

// Ports are the SFU's ports on its host.
type Ports struct {
	Signalling int    `hcl:"signalling,optional"` // HTTP and WebSocket behind the proxy; default 7880
	TCP        int    `hcl:"tcp,optional"`        // ICE over TCP, open to the world; default 7881
	UDP        string `hcl:"udp,optional"`        // media, "first-last", open to the world; default 50100-50200
}

// SFU is the LiveKit server of a site.
type SFU struct {
	Host         string   `hcl:"host"`                  // name of a host block
	URL          string   `hcl:"url"`                   // https://name[/prefix], no trailing slash
	Image        string   `hcl:"image,optional"`        // default DefaultSFUImage
	Archive      string   `hcl:"archive,optional"`      // path on the laptop of a `docker save` or OCI archive
	Container    string   `hcl:"container,optional"`    // default livekit-sfu
	NodeIP       string   `hcl:"node_ip,optional"`      // address that clients are told, or "IPv4,IPv6"; default: the host's own
	ExternalIP   bool     `hcl:"external_ip,optional"`  // ask STUN servers for the public address instead
	Interfaces   []string `hcl:"interfaces,optional"`   // network interfaces for media; default: the one that holds node_ip, else the default route's
	Bind         string   `hcl:"bind,optional"`         // address of the signalling port; default 127.0.0.1
	Participants int      `hcl:"participants,optional"` // at once on this host; default 40; checked against the UDP range
	UID          int      `hcl:"uid,optional"`          // numeric user and group in the container; default 10030
	Ports        *Ports   `hcl:"ports,block"`
}

// Auth is the MatrixRTC authorization service (the JWT service) of a site.
type Auth struct {
	Host       string   `hcl:"host"`
	URL        string   `hcl:"url"`            // https://name[/prefix], no trailing slash
	Image      string   `hcl:"image,optional"` // default DefaultAuthImage
	Archive    string   `hcl:"archive,optional"`
	Container  string   `hcl:"container,optional"`   // default element-call-jwt
	Port       int      `hcl:"port,optional"`        // on loopback; default 8080
	Bind       string   `hcl:"bind,optional"`        // default 127.0.0.1
	CAFile     string   `hcl:"ca_file,optional"`     // CA bundle on the host for a private CA
	FullAccess []string `hcl:"full_access,optional"` // homeservers whose users may create rooms; default: the site's server name
	UID        int      `hcl:"uid,optional"`         // default 10033
}

// LiveKitKeys is where LIVEKIT_KEY and LIVEKIT_SECRET come from when ecdeploy
// is not to make them: both of key and secret, or command.
type LiveKitKeys struct {
	Key     string   `hcl:"key,optional"`
	Secret  string   `hcl:"secret,optional"`
	Command []string `hcl:"command,optional"` // run on the laptop; prints "KEY: SECRET"
}

// SynapseDebian is a Synapse from Debian's or matrix.org's package.
type SynapseDebian struct {
	Host         string        `hcl:"host"`
	Unit         string        `hcl:"unit,optional"` // default matrix-synapse.service
	StartTimeout time.Duration // from start_timeout; default 120s
	StartText    string        `hcl:"start_timeout,optional"`
	MaxDelay     string        `hcl:"max_event_delay,optional"` // default 24h
}

// SynapseExternal is a Synapse that somebody else configures; ecdeploy says
// what it needs and looks whether it is there.
type SynapseExternal struct {
	Host string `hcl:"host,optional"` // a host that can reach it; default: the auth host
	URL  string `hcl:"url"`           // base URL of the client-server API
}

// ProxyNginx is an nginx on the host itself.
type ProxyNginx struct {
	Host        string `hcl:"host"`
	Certificate string `hcl:"certificate,optional"` // on the host; default: certbot's for the name, if there
	Key         string `hcl:"key,optional"`
}

// ProxyExternal is a reverse proxy that somebody else configures. It serves all
// that no other proxy block serves: what stands on its host over loopback, an
// SFU on another host over the network. Without Host it may be anywhere, and
// then no port is opened to it.
type ProxyExternal struct {
	Host string `hcl:"host,optional"` // the host that it is on; default: anywhere, reaching auth's host
}

// WellKnownFile is a static /.well-known/matrix/client on a host's disk.
type WellKnownFile struct {
	Host string `hcl:"host"`
	Path string `hcl:"path"`
}

// WellKnownExternal is a .well-known that somebody else serves.
type WellKnownExternal struct {
	Host string `hcl:"host,optional"` // a host that can reach it; default: the auth host
}

// Verify says how a deployment is checked.
type Verify struct {
	Level       string       `hcl:"level,optional"`        // "media" (default), "http" or "none"
	Strict      bool         `hcl:"strict,optional"`       // what lies on the way or at the laptop rolls back, too
	From        []string     `hcl:"from,optional"`         // names of host blocks that look, too
	ProbeHelper bool         `hcl:"probe_helper,optional"` // leave to run a helper on the SFU's host
	CAFile      string       `hcl:"ca_file,optional"`      // on the laptop: trust these CAs too
	AccessToken *TokenSource `hcl:"access_token,block"`
}

// TokenSource is where a Matrix user's access token comes from, on the laptop: one
// of these.
type TokenSource struct {
	Env     string   `hcl:"env,optional"`
	File    string   `hcl:"file,optional"`
	Command []string `hcl:"command,optional"` // prints it
}

// FirewallUFW is ufw. FirewallNone leaves firewalls alone.
type (
	FirewallUFW  struct{}
	FirewallNone struct{}
)

package plans

import "github.com/emdecloud/ecdeploy/internal/host"

// This file holds what a plan file says of a site besides its components.

// LiveKitKeys is where LIVEKIT_KEY and LIVEKIT_SECRET come from when ecdeploy
// is not to make them: both of key and secret, or command.
type LiveKitKeys struct {
	Key     host.Secret `hcl:"key,optional"`
	Secret  host.Secret `hcl:"secret,optional"`
	Command []string    `hcl:"command,optional"` // run on the laptop; prints "KEY: SECRET"
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

package host

import (
	"context"
	"time"
)

// Become says how commands become root on a host.
type Become string

// The ways to become root. BecomeNone logs in as root.
const (
	BecomeNone Become = "none"
	BecomeSudo Become = "sudo"
)

// Target is where and how to reach a machine, as the plan file says it. Empty
// fields come from ~/.ssh/config, then from OpenSSH's defaults.
type Target struct {
	Name           string // in the plan file
	Address        string // a name, an address, or an alias of ~/.ssh/config
	User           string
	Port           int
	Identity       string // path of a private key; offered before the agent's others
	Jump           string // "user@host:port,..." like ProxyJump; "none" to override ssh_config
	Become         Become
	SudoPassword   func(context.Context) (Secret, error) // nil: sudo asks for none. Called at most once per host and run
	ConnectTimeout time.Duration                         // 0: 15 s, for each of the chain's connections
}

// Options are the same for all hosts of a run.
type Options struct {
	SSHConfig  string   // path; "": ~/.ssh/config and /etc/ssh/ssh_config
	KnownHosts []string // paths; nil: as ssh_config says, else ~/.ssh/known_hosts and /etc/ssh/ssh_known_hosts
	AcceptNew  bool     // add the key of a host that no file knows yet to KnownHosts[0]
	// Ask prompts the person for a pass phrase or password with echo off; nil
	// where there is no terminal: then what would have to be asked is an error.
	Ask func(ctx context.Context, prompt string) (Secret, error)
	// Trace, when not nil, gets one line for each thing that crosses the
	// connection: kind and size, never content.
	Trace func(format string, args ...any)
}

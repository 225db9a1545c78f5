package plans

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// Pos is a place in a plan file, both counted from 1.
type Pos struct {
	File   string `json:"file"`
	Line   int    `json:"line"`
	Column int    `json:"column"`
}

// File is a whole plan file, decoded, checked and with defaults filled in.
type File struct {
	Path  string
	Sum   string   // SHA-256 of the file as it was read, in hex
	Vars  []string // variables whose values came from outside, sorted
	Hosts []Host   // in the order of the file
	Sites []Site

	variants []steps.Variant // that it was read with
}

// Host is one host block.
type Host struct {
	Name           string
	Address        string
	User           string
	Port           int // 0: ssh_config or 22
	Identity       string
	Jump           string
	Become         host.Become
	SudoPassword   PasswordSource
	ConnectTimeout time.Duration
	Blocks         []Declared // of variants, those that are implied among them
	Unused         bool       // no site of the file is on it, nor looks at calls from it
	Pos            Pos
}

// PasswordSource is where sudo's password comes from; the zero value means
// that there is none.
type PasswordSource struct {
	Ask     bool
	File    string
	Env     string
	Command []string
}

// Site is one site block.
type Site struct {
	ServerName string
	Blocks     []Declared   // of variants, those that are implied among them
	Keys       *LiveKitKeys // nil: made and kept on the hosts
	Verify     Verify
	// RevertAfter is how long a host waits to hear from the laptop before it
	// rolls a run back by itself.
	RevertAfter time.Duration
	Pos         Pos
}

// Declared is a block whose label names a variant, or a variant that is implied.
type Declared struct {
	Block  string // "proxy"
	Label  string // "nginx", "external", ...; "" for a block without one
	Config steps.Config
	Decl   steps.Decl
	Pos    Pos
}

// Context is what is known of a site without its hosts.
func (s Site) Context() *steps.Site {
	out := &steps.Site{Name: s.ServerName}
	for _, d := range s.Blocks {
		out.Parts = append(out.Parts, d.Decl.Parts...)
	}
	return out
}

// HostNames are the hosts that a site's components sit on, sorted, each once.
func (s Site) HostNames() []string { return s.Context().Hosts() }

// WayBack are the hosts in the order in which a run of the site is rolled back:
// that of what is announced to clients first, the SFU's last. Until then LiveKit
// accepts what the JWT service makes, in a rotation, too.
func (s Site) WayBack() []string {
	context := s.Context()
	rank := map[string]int{}
	for _, d := range s.Blocks {
		for _, p := range d.Config.Steps(d.Decl, context) {
			switch at := slices.Index(steps.Stages(), p.Stage); {
			case p.Stage.TakesTokens():
				rank[p.Host] = math.MinInt
			case !p.Closing && rank[p.Host] >= 0:
				rank[p.Host] = max(rank[p.Host], at)
			}
		}
	}
	hosts := context.Hosts()
	slices.SortStableFunc(hosts, func(a, b string) int { return cmp.Compare(rank[b], rank[a]) })
	return hosts
}

package plans

import (
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
	Firewall       Variant // Label "" means: found by a probe
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
	SFU        steps.SFU
	Auth       steps.Auth
	Keys       *steps.LiveKitKeys // nil: made and kept on the hosts
	Synapse    Variant
	Proxies    []Variant
	WellKnown  Variant
	Verify     steps.Verify
	// RevertAfter is how long a host waits for a sign of the laptop before it
	// takes a run back by itself.
	RevertAfter time.Duration
	Pos         Pos
}

// Variant is a block whose label names one of the registry's variants.
type Variant struct {
	Label  string // "nginx", "external", ...
	Host   string // name of the host it works on; "" where the variant needs none
	Config any    // pointer to the variant's config struct of package steps
	Pos    Pos
}

// HostNames are the hosts that a site's components sit on, sorted, each once.
func (s Site) HostNames() []string {
	seen := map[string]bool{s.SFU.Host: true, s.Auth.Host: true, s.Synapse.Host: true, s.WellKnown.Host: true}
	for _, p := range s.Proxies {
		seen[p.Host] = true
	}
	delete(seen, "")
	return sortedKeys(seen)
}

// WayBack are the hosts in the order in which a run of the site is taken back:
// that of what is announced to clients first, the SFU's last. Until then LiveKit
// accepts what the JWT service makes, in a rotation, too.
func (s Site) WayBack() []string {
	hosts := []string{s.WellKnown.Host, s.Synapse.Host}
	for _, p := range s.Proxies {
		hosts = append(hosts, p.Host)
	}
	var out []string
	for _, h := range append(hosts, s.Auth.Host) {
		if h != "" && h != s.SFU.Host && !slices.Contains(out, h) {
			out = append(out, h)
		}
	}
	return append(out, s.SFU.Host)
}

// SynapseUnit is the service of a Synapse from a package; false for one that
// somebody else configures.
func (s Site) SynapseUnit() (unit string, packaged bool) {
	c, ok := s.Synapse.Config.(*steps.SynapseDebian)
	if !ok {
		return "", false
	}
	return c.Unit, true
}

// ServesWellKnown is the host with the site's client well-known; "" where somebody
// else serves it.
func (s Site) ServesWellKnown() string {
	if c, ok := s.WellKnown.Config.(*steps.WellKnownFile); ok {
		return c.Host
	}
	return ""
}

// Homeserver is how the site's Synapse is asked: its configuration where it runs
// from a package, and the base URL where somebody else configures it.
func (s Site) Homeserver() (packaged *steps.SynapseDebian, url string) {
	switch c := s.Synapse.Config.(type) {
	case *steps.SynapseDebian:
		return c, ""
	case *steps.SynapseExternal:
		return nil, c.URL
	}
	return nil, ""
}

// Package caddy serves a site's routes by the Caddy of a host: one that systemd runs
// as caddy.service, as packages set it up, with a Caddyfile. It asks nothing of
// Caddy's API, since what is changed there is gone with the next reload.
package caddy

import (
	"context"
	"regexp"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// Title is the title of changes to Caddy's files. The hosts remember it: by it a
// site's edits are found again when it is taken away.
const Title = "Caddy"

const (
	unit      = "caddy.service"
	configDir = "/etc/caddy"
	ownDir    = configDir + "/ecdeploy"
	usualMain = configDir + "/Caddyfile"

	wayOut = `use proxy "external" {}: ecdeploy then says what the proxy needs and checks it`
)

// Config is a Caddy on the host itself.
type Config struct {
	Host        string `hcl:"host"`
	Certificate string `hcl:"certificate,optional"` // on the host, for names that no site serves yet; default: Caddy gets one
	Key         string `hcl:"key,optional"`
}

// Variant is the Caddy of a host.
func Variant() steps.Variant {
	return steps.Variant{
		Block: "proxy", Label: "caddy", Required: true, Several: true,
		Doc:     "Caddy 2.6 or newer on the host, as caddy.service with a Caddyfile",
		Example: `proxy "caddy" { host = host.NAME }`,
		Config:  func() steps.Config { return new(Config) },
		Effects: &steps.EffectKind{Word: "caddy", Stage: steps.StageProxy, Step: new(Config).serve},
		Detect:  detect,
	}
}

func detect(ctx context.Context, o host.Observer) ([]steps.Found, error) {
	res, err := o.Query(ctx, queryUnits)
	if err != nil {
		return nil, err
	}
	u := parseUnits(res[0])
	if !u.active {
		return nil, nil
	}
	return []steps.Found{{Config: &Config{Host: o.Name()}, Why: "Caddy runs on " + o.Name(), Sure: u.problem == ""}}, nil
}

// HostName implements steps.Config.
func (c *Config) HostName() string { return c.Host }

// Parts implements steps.Config.
func (c *Config) Parts(d steps.Decl) []steps.Part {
	return []steps.Part{{Name: "caddy", Title: "the proxy", Host: d.Host, Proxy: new(steps.Proxy), Unit: &steps.Unit{
		Name: unit, Title: "Caddy", Version: "caddy version 2>/dev/null | sed -n 's/^v\\{0,1\\}\\([0-9][^ ]*\\).*/\\1/p'",
	}}}
}

// unquoted are characters that other programs take in a path, and that are not
// written into a Caddyfile.
var unquoted = regexp.MustCompile("[ !#%&()+,:<=>^|~`\u0080-\U0010FFFF]")

// Check implements steps.Config.
func (c *Config) Check(b steps.Block, d steps.Decl, s *steps.Site) {
	steps.CheckCertificate(b, c.Certificate, c.Key)
	for attr, path := range map[string]string{"certificate": c.Certificate, "key": c.Key} {
		if b.Known(attr) && strings.HasPrefix(path, "/") && unquoted.MatchString(path) {
			b.Wrong(attr, attr+" holds a character that would need quotes in a Caddyfile", "move the file to a path of letters, digits, dots, - and _")
		}
	}
	steps.CheckServes(b, d, s)
}

// Steps implements steps.Config.
func (c *Config) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	return []steps.Placed{{Stage: steps.StageProxy, Host: d.Host, Step: c.serve(s)}}
}

// serve brings a site's routes into the Caddy of a host. They are in files of our
// own; one import line leads there, in the site that serves a public name already,
// or at the end of the Caddyfile for a name that no site serves.
func (c *Config) serve(site *steps.Site) steps.Step {
	probe := func(ctx context.Context, o host.Observer) (facts, error) { return c.probe(ctx, o, site) }
	share := func(f facts, s *steps.Shared) { s.HTTPS[f.name] = f.address(site.Served(c.Host)) }
	return steps.Define("caddy", probe, share, func(f facts, _ steps.Shared) (steps.Decision, error) { return f.decide(site, c), nil })
}

package machine

import (
	"context"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// Config is what every host of a site is asked and told, whatever is on it.
type Config struct{}

// Variant is part of every site.
func Variant() steps.Variant {
	return steps.Variant{
		Block: "machine", Implied: true,
		Doc:     "Debian with systemd, Docker 20.10 or newer, POSIX sh, coreutils, util-linux",
		Config:  func() steps.Config { return new(Config) },
		Effects: &steps.EffectKind{Word: portsWord, Stage: steps.StageHost, Step: reservedPorts},
		Detect:  steps.FindsNothing,
	}
}

// HostName implements Config.
func (*Config) HostName() string { return "" }

// Parts implements Config.
func (*Config) Parts(steps.Decl) []steps.Part { return nil }

// Check implements Config.
func (*Config) Check(steps.Block, steps.Decl, *steps.Site) {}

// Steps implements Config.
func (*Config) Steps(_ steps.Decl, s *steps.Site) []steps.Placed {
	var out []steps.Placed
	for _, h := range s.Hosts() {
		out = append(out, steps.Placed{Stage: steps.StagePreflight, Host: h, Step: preflight(s)})
	}
	for _, h := range s.Hosts() {
		if len(sitePorts(s, h)) > 0 {
			out = append(out, steps.Placed{Stage: steps.StageHost, Host: h, Step: reservedPorts(s)})
		}
	}
	for _, p := range s.Parts {
		for _, from := range s.Reaches(p) {
			out = append(out, steps.Placed{Stage: steps.StageHost, Host: from, Step: sourceAddress(p), Closing: true})
		}
	}
	return out
}

// sourceAddress finds the address with which a proxy's host reaches a part on
// another host, so that the firewall there opens to it alone.
func sourceAddress(p steps.Part) steps.Step {
	type found struct{ host, source string }
	var bind string
	for _, l := range p.Listens {
		if l.For == steps.ForProxies {
			bind = l.Bind
		}
	}
	probe := func(ctx context.Context, o host.Observer) (found, error) {
		res, err := o.Query(ctx, host.Cmd{Argv: []string{"ip", "-o", "route", "get", bind}})
		if err != nil {
			return found{}, err
		}
		return found{o.Name(), steps.ParseRoute(res[0]).IP}, nil
	}
	share := func(f found, s *steps.Shared) { s.Sources[f.host] = f.source }
	diff := func(f found, _ steps.Shared) (steps.Decision, error) {
		if f.source == "" {
			return steps.Decision{
				Findings: []steps.Finding{steps.Error.Finding(f.host+" has no route to "+bind+", where "+p.Title+" is to listen for it", "correct bind in "+p.Name+" {}")},
			}, nil
		}
		return steps.Decision{}, nil
	}
	return steps.Define("source-address", probe, share, diff)
}

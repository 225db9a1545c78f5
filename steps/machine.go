package steps

import (
	"context"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Machine is what every host of a site is asked and told, whatever is on it.
type Machine struct{}

// MachineVariant is part of every site.
func MachineVariant() Variant {
	return Variant{
		Block: "machine", Implied: true,
		Doc:    "Debian with systemd, Docker 20.10 or newer, POSIX sh, coreutils, util-linux",
		Config: func() Config { return new(Machine) },
		Detect: findsNothing,
	}
}

// HostName implements Config.
func (*Machine) HostName() string { return "" }

// Parts implements Config.
func (*Machine) Parts(Decl) []Part { return nil }

// Check implements Config.
func (*Machine) Check(Block, Decl, *Site) {}

// Steps implements Config.
func (*Machine) Steps(_ Decl, s *Site) []Placed {
	var out []Placed
	for _, h := range s.Hosts() {
		out = append(out, Placed{Stage: StagePreflight, Host: h, Step: preflight(s)})
	}
	for _, h := range s.Hosts() {
		if len(sitePorts(s, h)) > 0 {
			out = append(out, Placed{Stage: StageHost, Host: h, Step: reservedPorts(s)})
		}
	}
	for _, p := range s.Parts {
		for _, from := range s.Reaches(p) {
			out = append(out, Placed{Stage: StageHost, Host: from, Step: sourceAddress(p), Closing: true})
		}
	}
	return out
}

// Removal implements Config.
func (*Machine) Removal(_ Decl, s *Site) []Placed {
	var out []Placed
	for _, h := range s.Hosts() {
		if len(sitePorts(s, h)) > 0 {
			out = append(out, Placed{Stage: StageHost, Host: h, Step: releasePorts(s), Closing: true})
		}
	}
	return out
}

// sourceAddress finds the address with which a proxy's host reaches a part on
// another host, so that the firewall there opens to it alone.
func sourceAddress(p Part) Step {
	type found struct{ host, source string }
	var bind string
	for _, l := range p.Listens {
		if l.For == ForProxies {
			bind = l.Bind
		}
	}
	probe := func(ctx context.Context, o host.Observer) (found, error) {
		res, err := o.Query(ctx, host.Cmd{Argv: []string{"ip", "-o", "route", "get", bind}})
		if err != nil {
			return found{}, err
		}
		return found{o.Name(), parseRoute(res[0]).IP}, nil
	}
	share := func(f found, s *Shared) { s.Sources[f.host] = f.source }
	diff := func(f found, _ Shared) (Decision, error) {
		if f.source == "" {
			return Decision{Findings: []Finding{Error.Finding(f.host+" has no route to "+bind+", where "+p.Title+" is to listen for it", "correct bind in "+p.Name+" {}")}}, nil
		}
		return Decision{}, nil
	}
	return Define("source-address", probe, share, diff)
}

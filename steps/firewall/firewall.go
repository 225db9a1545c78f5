package firewall

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// Opening is a set of ports that must be reachable on a host.
type Opening struct {
	Proto string // "tcp" or "udp"
	First int
	Last  int
	From  string // address that may come in; "" for the world
}

// Ports are the ports as ufw and iptables write them: "1" or "1:2".
func (o Opening) Ports() string {
	if o.First == o.Last {
		return strconv.Itoa(o.First)
	}
	return fmt.Sprintf("%d:%d", o.First, o.Last)
}

func (o Opening) String() string {
	s := strings.Replace(o.Ports(), ":", "-", 1) + "/" + o.Proto
	if o.From != "" {
		s += " from " + o.From
	}
	return s
}

// Openings are the ports that a site needs on a host: what the world has to reach,
// and what a proxy reaches over the network.
func Openings(site *steps.Site, hostName string, s steps.Shared) []Opening {
	var out []Opening
	for _, p := range site.On(hostName) {
		for _, l := range p.Listens {
			if l.For == steps.ForWorld {
				out = append(out, Opening{Proto: l.Proto, First: l.First, Last: l.Last})
			}
		}
	}
	for _, p := range site.On(hostName) {
		for _, from := range site.Reaches(p) {
			source := s.Sources[from]
			if source == "" {
				continue // an error of the step "source-address"; never the world
			}
			for _, l := range p.Listens {
				if l.For == steps.ForProxies {
					out = append(out, Opening{l.Proto, l.First, l.Last, source})
				}
			}
		}
	}
	return out
}

func openingList(open []Opening) string {
	var names []string
	for _, o := range open {
		names = append(names, o.String())
	}
	return strings.Join(names, ", ")
}

// firewallSteps are a firewall's step on its host, where the site needs something
// open there.
func firewallSteps(d steps.Decl, s *steps.Site, step steps.Step) []steps.Placed {
	if !needsOpen(s, d.Host) {
		return nil
	}
	return []steps.Placed{{Stage: steps.StageHost, Host: d.Host, Step: step}}
}

// needsOpen reports whether anybody else has to reach something on a host.
func needsOpen(s *steps.Site, on string) bool {
	for _, p := range s.On(on) {
		for _, l := range p.Listens {
			if l.For == steps.ForWorld || l.For == steps.ForProxies && len(s.Reaches(p)) > 0 {
				return true
			}
		}
	}
	return false
}

// unreadable is how bad it is that the rules of a firewall cannot be read: a run goes
// on where the site needs nothing of them.
func unreadable(s *steps.Site, on string) steps.Severity {
	if needsOpen(s, on) {
		return steps.Error
	}
	return steps.Warning
}

// None leaves firewalls alone.
type None struct{}

// NoneVariant is any other firewall.
func NoneVariant() steps.Variant {
	return steps.Variant{
		Block: "firewall", Scope: steps.InHost, Label: "none",
		Doc:     "any other, or none: says what must be open",
		Example: `firewall "none" {}`,
		WayOut:  `write firewall "none" {}: ecdeploy then says what must be open`,
		Config:  func() steps.Config { return new(None) },
		Detect:  steps.FindsNothing,
	}
}

// HostName implements Config.
func (*None) HostName() string { return "" }

// Parts implements Config.
func (*None) Parts(steps.Decl) []steps.Part { return nil }

// Check implements Config.
func (*None) Check(steps.Block, steps.Decl, *steps.Site) {}

// Steps implements Config.
func (*None) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	return firewallSteps(d, s, steps.Define("firewall", steps.Nothing, nil, func(_ struct{}, shared steps.Shared) (steps.Decision, error) {
		return steps.Decision{LeavesAlone: true,
			Findings: []steps.Finding{steps.Note.Finding("the firewall of "+d.Host+" is left alone, as the plan file says: "+
				openingList(Openings(s, d.Host, shared))+" must be open",
				"")},
		}, nil
	}))
}

// Found is whichever firewall a host has, for a host without such a block.
type Found struct {
	among []steps.Variant
}

// FoundVariant looks for one of these variants.
func FoundVariant(among ...steps.Variant) steps.Variant {
	return steps.Variant{
		Block: "firewall", Scope: steps.InHost, Implied: true,
		Doc:    "found by itself where the plan file names none",
		Config: func() steps.Config { return &Found{among} },
		Detect: steps.FindsNothing,
	}
}

// HostName implements Config.
func (*Found) HostName() string { return "" }

// Parts implements Config.
func (*Found) Parts(steps.Decl) []steps.Part { return nil }

// Check implements Config.
func (*Found) Check(steps.Block, steps.Decl, *steps.Site) {}

// Steps implements Config.
func (c *Found) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	return firewallSteps(d, s, foundStep{among: c.among, decl: d, site: s})
}

// foundStep is the step of the firewall that a host has, which only its probe tells.
type foundStep struct {
	among []steps.Variant
	decl  steps.Decl
	site  *steps.Site
}

func (f foundStep) Name() string { return "firewall" }

// queryFirewalld asks for a firewall that is known and not supported.
var queryFirewalld = host.Sh("systemctl -q is-active firewalld")

// Probe implements Step.
func (f foundStep) Probe(ctx context.Context, o host.Observer) (steps.Facts, error) {
	configs, firewalld, err := f.found(ctx, o)
	if err != nil {
		return nil, err
	}
	out := foundFacts{step: f, firewalld: firewalld}
	for _, c := range configs {
		for _, p := range c.Steps(f.decl, f.site) {
			facts, err := p.Step.Probe(ctx, o)
			if err != nil {
				return nil, err
			}
			out.facts = append(out.facts, facts)
		}
	}
	return out, nil
}

// found are the firewalls that are active, else those that are only there. All are
// looked for at once.
func (f foundStep) found(ctx context.Context, o host.Observer) (configs []steps.Config, firewalld bool, err error) {
	g, ctx := errgroup.WithContext(ctx)
	found := make([][]steps.Found, len(f.among))
	for i, v := range f.among {
		g.Go(func() (err error) { found[i], err = v.Detect(ctx, o); return err })
	}
	g.Go(func() error {
		res, err := o.Query(ctx, queryFirewalld)
		firewalld = err == nil && res[0].OK()
		return err
	})
	if err := g.Wait(); err != nil {
		return nil, false, err
	}
	var active, there []steps.Config
	for _, one := range slices.Concat(found...) {
		there = append(there, one.Config)
		if one.Sure {
			active = append(active, one.Config)
		}
	}
	if len(active) > 0 {
		return active, firewalld, nil
	}
	return there, firewalld, nil
}

// foundFacts are the facts of the firewalls that were found.
type foundFacts struct {
	step      foundStep
	facts     []steps.Facts
	firewalld bool
}

// Share implements Facts.
func (f foundFacts) Share(s *steps.Shared) {
	for _, one := range f.facts {
		one.Share(s)
	}
}

// Diff implements Facts.
func (f foundFacts) Diff(s steps.Shared) (steps.Decision, error) {
	on, open := f.step.decl.Host, openingList(Openings(f.step.site, f.step.decl.Host, s))
	switch {
	case f.firewalld:
		return steps.Decision{LeavesAlone: true,
			Findings: []steps.Finding{steps.Warning.Finding("firewalld runs on "+on+" and is not supported yet: "+open+" must be open",
				`open them yourself, then say firewall "none" {} in the host block`)},
		}, nil
	case len(f.facts) == 0:
		return steps.Decision{LeavesAlone: true,
			Findings: []steps.Finding{steps.Note.Finding("no firewall that ecdeploy knows is on "+on+", so nothing is opened there: "+
				open+" must be open in whatever else filters",
				"")},
		}, nil
	}
	var out steps.Decision
	for _, one := range f.facts {
		d, err := one.Diff(s)
		if err != nil {
			return out, err
		}
		out.Changes = append(out.Changes, d.Changes...)
		out.Checks = append(out.Checks, d.Checks...)
		out.Findings = append(out.Findings, d.Findings...)
		out.Stands = append(out.Stands, d.Stands...)
	}
	return out, nil
}

package firewall

import (
	"context"
	"fmt"
	"slices"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// nftFacts are what a host's nftables lets in, and what loads it at boot.
type nftFacts struct {
	name      string
	installed bool
	problem   string // why its rules are unknown
	rules     nftRuleset
	boot      nftBoot
	ufwOpens  bool // ufw's own step opens its chains in the same run
}

// nftQueries are what a probe asks, for all sites alike.
func nftQueries() []host.Cmd {
	return []host.Cmd{{Argv: []string{"nft", "-j", "list", "ruleset"}}, host.Sh("command -v nft"),
		{Argv: []string{"systemctl", "show", "nftables.service", "--property=UnitFileState,ExecReload"}}}
}

// probeNFT asks nft, in two flights where sets are so large that it has to be asked
// without their elements.
func probeNFT(ctx context.Context, o host.Observer, site *steps.Site) (nftFacts, error) {
	files, all, res, err := steps.Look(ctx, o, nftBootPaths(site), nftQueries()...)
	if err != nil {
		return nftFacts{}, err
	}
	f, err := readNFT(ctx, o, res)
	f.boot = readNFTBoot(files, all, res[1], res[2])
	return f, err
}

// readNFT reads the answers to nftQueries.
func readNFT(ctx context.Context, o host.Observer, res []host.Result) (nftFacts, error) {
	f := nftFacts{name: o.Name(), installed: res[0].Code != 127}
	list, terse := res[0], false
	if list.Truncated {
		again, err := o.Query(ctx, host.Cmd{Argv: []string{"nft", "-j", "-t", "list", "ruleset"}})
		if err != nil {
			return nftFacts{}, err
		}
		list, terse = again[0], true
	}
	var err error
	switch {
	case !f.installed:
	case !list.OK():
		f.problem = lastLine(host.Clean(string(list.Stderr)))
	case list.Truncated:
		f.problem = fmt.Sprintf("its rules are longer than %d MiB", host.MaxOutput>>20)
	default:
		if f.rules, err = parseNFT(list.Stdout); err != nil {
			f.problem = host.Clean(err.Error())
		}
	}
	if terse {
		f.rules = f.rules.withoutElements()
	}
	return f, nil
}

// decide opens what is not open yet and takes away our rules that nothing needs any
// more. With nothing to open it takes all of the site's rules away.
func (f nftFacts) decide(site *steps.Site, open []Opening) steps.Decision {
	switch {
	case !f.installed && len(open) > 0:
		return steps.Decision{Findings: []steps.Finding{f.elsewhere("nftables is not installed on "+f.name, open)}}
	case f.problem != "":
		return steps.Decision{Findings: []steps.Finding{unreadable(site, f.name).Finding("cannot read the rules of nftables on "+f.name+": "+f.problem,
			`see what "nft -j list ruleset" says there; firewall "none" {} in the host block leaves it alone`)}}
	}
	d := steps.Decision{Stands: steps.Refs(steps.EntryEffect, nftWord)}
	var insert []nftOwn
	work := nftWork
	for _, c := range f.rules.filters() {
		for _, o := range open {
			more, found := f.openIn(c, o, &work)
			insert = append(insert, more...)
			d.Findings = appendNew(d.Findings, found)
		}
	}
	remove, keep := f.own(site, open)
	if len(remove)+len(insert) > 0 {
		d.Changes = append(d.Changes, nftChange(site, remove, insert))
	}
	boot, stands, found := f.boot.decide(f.name, site, append(keep, insert...))
	d.Changes, d.Stands, d.Findings = append(d.Changes, boot...), append(d.Stands, stands...), append(d.Findings, found...)
	if len(open) > 0 && !f.filtering() {
		d.Findings = append(d.Findings, f.elsewhere("nftables on "+f.name+" drops nothing that comes in", open))
	}
	return d
}

// elsewhere is the finding where there is nothing to open, and why.
func (f nftFacts) elsewhere(why string, open []Opening) steps.Finding {
	return steps.Note.Finding(why+", so nothing is opened there: "+openingList(open)+" must be open in whatever else filters", "")
}

// appendNew leaves out findings that are there already: for IPv4 and IPv6, or for
// several openings.
func appendNew(to, more []steps.Finding) []steps.Finding {
	for _, f := range more {
		if !slices.Contains(to, f) {
			to = append(to, f)
		}
	}
	return to
}

// filtering reports whether any rule or policy may drop what comes in.
func (f nftFacts) filtering() bool {
	return slices.ContainsFunc(f.rules.filters(), (*nftChain).mayDrop)
}

// own are the site's own rules, wherever they are: those that nothing needs any
// more, and those that do serve an opening.
func (f nftFacts) own(site *steps.Site, open []Opening) (remove, keep []nftOwn) {
	comment := nftComment(site)
	for _, c := range f.rules.chains {
		for _, rule := range c.Rules {
			if rule.Comment != comment || !c.plain() {
				continue
			}
			r, ok := parseOwn(c, rule)
			switch {
			case !ok: // somebody made it theirs
			case slices.ContainsFunc(open, func(o Opening) bool { return sameOpening(o, r.Opening) }):
				keep = appendOwn(keep, r)
			default:
				remove = appendOwn(remove, r)
			}
		}
	}
	return remove, keep
}

func appendOwn(to []nftOwn, r nftOwn) []nftOwn {
	if slices.Contains(to, r) {
		return to
	}
	return append(to, r)
}

// plain reports whether the chain's names can stand in commands.
func (c nftChain) plain() bool {
	return nftPlain.MatchString(c.Family) && nftPlain.MatchString(c.Table) && nftPlain.MatchString(c.Name)
}

// versions are the IP versions that come through the chain and that o is about.
func (c nftChain) versions(o Opening) []nftPackets {
	from, err := parseFrom(o.From)
	if err != nil {
		return nil // an address that never comes in; the plan file's own checks name it
	}
	var out []nftPackets
	for _, v6 := range []bool{false, true} {
		foreign := v6 && c.Family == "ip" || !v6 && c.Family == "ip6"
		if !foreign && (!from.IsValid() || from.Addr().Is6() == v6) {
			out = append(out, nftPackets{IPv6: v6, Proto: o.Proto, From: from})
		}
	}
	return out
}

// openIn decides what chain c needs for o.
func (f nftFacts) openIn(c *nftChain, o Opening, work *int) (insert []nftOwn, findings []steps.Finding) {
	var need []string
	closed := false
	for _, p := range c.versions(o) {
		e := f.rules.effectOf(c, p, []steps.PortRange{{First: o.First, Last: o.Last}}, work)
		version := map[bool]string{false: "ipv4", true: "ipv6"}[p.IPv6]
		switch finding, stands := f.stands(c, o, p, e); {
		case stands:
			closed = closed || e.closed != nil
			findings = append(findings, finding...)
		case e.open():
			findings = append(findings, finding...)
		default:
			need = append(need, version)
			findings = append(findings, f.passes(c, o, e)...)
		}
	}
	switch {
	case len(need) == 0:
	case len(need) == 1 && closed: // the admin closes the other one
		insert = []nftOwn{{Chain: c.String(), Opening: o, Version: need[0]}}
	default:
		insert = []nftOwn{{Chain: c.String(), Opening: o}}
	}
	return insert, findings
}

// stands are the findings where a rule of ours must not or cannot help; stands is
// false where one can, or where none is needed.
func (f nftFacts) stands(c *nftChain, o Opening, p nftPackets, e nftEffect) (findings []steps.Finding, stands bool) {
	where := "chain " + c.String() + " of nftables on " + f.name
	what := o.String()
	severity := steps.Error
	if p.IPv6 && o.From == "" { // calls go over IPv4, too
		severity, what = steps.Warning, what+" over IPv6"
	}
	manager := f.rules.manager(c)
	switch {
	case e.lost:
		return []steps.Finding{steps.Error.Finding("cannot determine whether "+where+" lets in "+what+": the ways through its rules are too many",
			`open it yourself, then say firewall "none" {} in the host block`)}, true
	case manager == "ufw" && f.ufwOpens:
		return nil, true
	case manager != "" && (!e.open() || e.limited != nil):
		return []steps.Finding{steps.Warning.Finding(where+" belongs to "+manager+" and may drop "+what,
			"open it with "+manager+"; ecdeploy does not edit rules that a program writes")}, true
	case e.closed != nil:
		return []steps.Finding{severity.Finding("a rule of "+where+" closes "+what+": "+e.closed.String(), c.deleteHint(e.closed))}, true
	case e.open() && e.limited == nil:
		return nil, false
	case e.limited != nil && e.open():
		return []steps.Finding{steps.Warning.Finding("a rule of "+where+" closes "+what+" to some: "+e.limited.String(), c.deleteHint(e.limited))}, false
	case e.limited != nil:
		return []steps.Finding{severity.Finding("a rule of "+where+" closes "+what+" to some, and a rule of ecdeploy would come before it: "+e.limited.String(),
			c.deleteHint(e.limited))}, true
	case c.Hook != "input":
		if len(e.dropped) == 0 {
			return nil, true // before a connection is known, some packets always go
		}
		return []steps.Finding{severity.Finding(where+" drops "+what+" before chains for input see it",
			"open it there; ecdeploy adds rules to chains with hook input alone")}, true
	case !c.plain():
		return []steps.Finding{severity.Finding("the name of "+where+" is one that ecdeploy does not write into commands: "+what+" is not opened there",
			"open it there yourself")}, true
	}
	return nil, false
}

// deleteHint is how an admin removes their own rule.
func (c nftChain) deleteHint(r *nftRule) string {
	return fmt.Sprintf("delete or change that rule (nft -a list chain %s; nft delete rule %s handle %d) and where it is loaded from; "+
		"ecdeploy does not undo an admin's decision", c, c, r.Handle)
}

// passes names the admin's rules that packets for o no longer come to.
func (f nftFacts) passes(c *nftChain, o Opening, e nftEffect) []steps.Finding {
	var out []steps.Finding
	rules := e.passed
	if e.queued != nil {
		rules = append(slices.Clone(rules), e.queued)
	}
	for _, r := range rules {
		out = append(out, steps.Note.Finding(fmt.Sprintf("the rule for %s comes first in chain %s of nftables on %s, so this one no longer applies to it: %s",
			o, c, f.name, r), ""))
	}
	return out
}

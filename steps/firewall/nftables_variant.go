package firewall

import (
	"context"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// NFTables is nftables with rules that an admin wrote, without another program in
// front of it.
type NFTables struct{}

// NFTablesVariant is nftables.
func NFTablesVariant() steps.Variant {
	return steps.Variant{
		Block: "firewall", Scope: steps.InHost, Label: "nftables",
		Doc:     "nftables, with rules of the admin's own",
		Example: `firewall "nftables" {}`,
		Config:  func() steps.Config { return new(NFTables) },
		Effects: &steps.EffectKind{Word: nftWord, Stage: steps.StageHost, Step: openNFT},
		Detect:  detectNFT,
	}
}

// nftTraces are our files with rules for the next boot, of any site.
const nftTraces = "/etc/ecdeploy/*/nftables/*.nft"

// detectNFT finds a chain of the admin's own that may drop what comes in. A host with
// none, where only a program such as Docker, ufw or firewalld uses nftables, is one
// without. Rules of ours that are left there are found, too, so that they can go.
func detectNFT(ctx context.Context, o host.Observer) ([]steps.Found, error) {
	_, all, res, err := steps.Look(ctx, o, []string{nftTraces}, nftQueries()...)
	if err != nil {
		return nil, err
	}
	f, err := readNFT(ctx, o, res)
	if err != nil || !f.installed {
		return nil, err
	}
	found := steps.Found{Config: new(NFTables)}
	if c := f.ownChain(); c != nil {
		found.Why, found.Sure = "chain "+c.String()+" of nftables on "+o.Name()+" filters what comes in", true
		return []steps.Found{found}, nil
	}
	left := slices.ContainsFunc(all, func(f host.File) bool { return f.Exists })
	if left || f.hasOurs() {
		found.Why = "nftables on " + o.Name() + " has rules of ecdeploy"
		return []steps.Found{found}, nil
	}
	return nil, nil
}

// ownChain is the first chain for what comes in that belongs to no program and may
// drop something; nil where there is none.
func (f nftFacts) ownChain() *nftChain {
	for _, c := range f.rules.filters() {
		if c.Hook == "input" && f.rules.manager(c) == "" && c.mayDrop() {
			return c
		}
	}
	return nil
}

// hasOurs reports whether any rule is marked as one of ecdeploy's, for any site.
func (f nftFacts) hasOurs() bool {
	return slices.ContainsFunc(f.rules.chains, func(c *nftChain) bool {
		return slices.ContainsFunc(c.Rules, func(r *nftRule) bool { return strings.HasPrefix(r.Comment, nftMark) })
	})
}

// HostName implements Config.
func (*NFTables) HostName() string { return "" }

// Parts implements Config.
func (*NFTables) Parts(steps.Decl) []steps.Part { return nil }

// Check implements Config.
func (*NFTables) Check(steps.Block, steps.Decl, *steps.Site) {}

// Steps implements Config.
func (*NFTables) Steps(d steps.Decl, s *steps.Site) []steps.Placed {
	return firewallSteps(d, s, openNFT(s))
}

// openNFT opens what a site needs on one host.
func openNFT(site *steps.Site) steps.Step {
	return steps.Define("firewall", probeNFTOf(site), nil, func(f nftFacts, s steps.Shared) (steps.Decision, error) {
		f.ufwOpens, _ = steps.Get(s, ufwOpens, f.name)
		return f.decide(site, Openings(site, f.name, s)), nil
	})
}

func probeNFTOf(site *steps.Site) func(context.Context, host.Observer) (nftFacts, error) {
	return func(ctx context.Context, o host.Observer) (nftFacts, error) { return probeNFT(ctx, o, site) }
}

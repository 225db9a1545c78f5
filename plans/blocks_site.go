package plans

import (
	"cmp"
	"fmt"
	"slices"
	"time"

	"github.com/emdecloud/ecdeploy/steps"
)

// How long a host waits for the laptop.
const (
	defaultRevertAfter = 3 * time.Minute
	minRevertAfter     = 3 * time.Second // the laptop has to be heard of meanwhile
)

// siteBlock is what a site block holds besides its variants.
type siteBlock struct {
	Keys   *LiveKitKeys `hcl:"livekit_keys,block"`
	Verify *Verify      `hcl:"verify,block"`

	RevertAfter string `hcl:"revert_after,optional"`
}

func (l *loader) site(n *node) Site {
	var b siteBlock
	l.fillWith(n, &b, l.blocks(steps.InSite))
	s := Site{ServerName: n.label, Keys: b.Keys, RevertAfter: defaultRevertAfter, Pos: l.pos(n.def)}
	l.checkServerName(n)
	if d, ok := l.duration(n, "revert_after", b.RevertAfter); ok {
		if d < minRevertAfter {
			l.fail(n.at("revert_after"),
				fmt.Sprintf("revert_after is shorter than %s", minRevertAfter),
				"a host must not give up between two times that it hears from the laptop; leave it out for "+defaultRevertAfter.String())
		}
		s.RevertAfter = d
	}
	s.Blocks = l.declared(n, steps.InSite, steps.Decl{Site: n.label})
	if b.Verify != nil {
		s.Verify = *b.Verify
	}
	if !n.child("verify").hasAttr("level") {
		s.Verify.Level = "media"
	}
	if c := n.child("livekit_keys"); c != nil {
		l.checkKeys(c, *s.Keys)
	}
	if c := n.child("verify"); c != nil {
		l.checkVerify(c, s.Verify)
	}
	l.checkBlocks(n, s.Blocks, s.Context())
	return s
}

// blocks are the names of blocks of a scope that have variants, in the order of
// the list of variants.
func (l *loader) blocks(scope steps.Scope) []string {
	var out []string
	for _, v := range l.variants {
		if v.Scope == scope && v.Example != "" && !slices.Contains(out, v.Block) {
			out = append(out, v.Block)
		}
	}
	return out
}

// of are the variants of a block.
func (l *loader) of(block string) []steps.Variant {
	return slices.DeleteFunc(slices.Clone(l.variants), func(v steps.Variant) bool { return v.Block != block })
}

// declared decodes the blocks of variants within n, and adds what is implied.
func (l *loader) declared(n *node, scope steps.Scope, decl steps.Decl) []Declared {
	var out []Declared
	var unknown []bool             // whether a block names a host that is not known yet
	for _, v := range l.variants { // the first of each block
		if v.Scope != scope || slices.ContainsFunc(out, func(d Declared) bool { return d.Block == v.Block }) {
			continue
		}
		kind := l.of(v.Block)
		nodes := n.nodes[v.Block]
		if len(nodes) == 0 {
			out = append(out, l.undeclared(n, kind)...)
			unknown = append(unknown, make([]bool, len(out)-len(unknown))...)
			continue
		}
		for i, c := range nodes {
			if i > 0 && !v.Several {
				l.fail(c.def, v.Block+" {}: duplicate block", fmt.Sprintf("keep one; the first is in line %d", nodes[0].def.Start.Line))
				continue
			}
			out, unknown = append(out, l.variant(c, kind)), append(unknown, !c.known("host", "hosts"))
		}
	}
	return settle(out, unknown, decl)
}

// undeclared is what stands for a block that is not written: what is implied, or a
// mistake.
func (l *loader) undeclared(n *node, kind []steps.Variant) []Declared {
	for _, v := range kind {
		if v.Implied {
			return []Declared{{Block: v.Block, Config: v.Config(), Pos: l.pos(n.def)}}
		}
	}
	if v := kind[0]; v.Required {
		l.fail(n.def, fmt.Sprintf("site %q has no %s {}", n.label, v.Block), "add "+v.Example)
	}
	return nil
}

// settle gives each block its host and its parts. Those that name no host get the
// site's home, which only the others tell.
func settle(all []Declared, unknown []bool, decl steps.Decl) []Declared {
	site := steps.Site{Name: decl.Site}
	for i := range all {
		d := &all[i]
		d.Decl = decl
		if d.Config == nil {
			continue
		}
		if name := d.Config.HostName(); name != "" {
			d.Decl.Host = name
			d.Decl.Parts = d.Config.Parts(d.Decl)
			site.Parts = append(site.Parts, d.Decl.Parts...)
		}
	}
	for i := range all {
		d := &all[i]
		if d.Config != nil && d.Config.HostName() == "" {
			if !unknown[i] {
				d.Decl.Host = cmp.Or(decl.Host, site.Home())
			}
			d.Decl.Parts = d.Config.Parts(d.Decl)
		}
	}
	return slices.DeleteFunc(all, func(d Declared) bool { return d.Config == nil })
}

// variant decodes a block whose label names one of kind; its Config is nil where
// there is no such variant.
func (l *loader) variant(n *node, kind []steps.Variant) Declared {
	d := Declared{Block: n.kind, Label: n.label, Pos: l.pos(n.def)}
	i := slices.IndexFunc(kind, func(v steps.Variant) bool { return v.Label == n.label && v.Example != "" })
	if i < 0 {
		if n.label != "" {
			l.unsupported(n, kind)
		}
		return d
	}
	d.Config = kind[i].Config()
	l.fill(n, d.Config)
	return d
}

// checkBlocks lets each variant check its block, now that the site is known; in a host
// that is none yet.
func (l *loader) checkBlocks(n *node, blocks []Declared, site *steps.Site) {
	for _, d := range blocks {
		if c := l.nodeOf(n, d); c != nil {
			d.Config.Check(nodeBlock{l, c}, d.Decl, site)
		}
	}
}

// nodeOf is the block that a declaration was read from; nil for what is implied.
func (l *loader) nodeOf(n *node, d Declared) *node {
	for _, c := range n.nodes[d.Block] {
		if l.pos(c.def) == d.Pos {
			return c
		}
	}
	return nil
}

// nodeBlock is a node for who checks it.
type nodeBlock struct {
	l *loader
	n *node
}

// At implements steps.Block.
func (b nodeBlock) At(path ...string) steps.Block {
	return nodeBlock{b.l, b.within(path)}
}

func (b nodeBlock) within(path []string) *node {
	n := b.n
	for _, kind := range path {
		c := n.child(kind)
		if c == nil { // nothing of it is written
			c = &node{kind: kind, def: n.def, name: n.def}
		}
		n = c
	}
	return n
}

// Given implements steps.Block.
func (b nodeBlock) Given(attr string) bool { return b.n.hasAttr(attr) }

// Known implements steps.Block.
func (b nodeBlock) Known(attrs ...string) bool { return b.n.known(attrs...) }

// Wrong implements steps.Block.
func (b nodeBlock) Wrong(attr, what, fix string) { b.l.fail(b.n.at(attr), what, fix) }

// Doubtful implements steps.Block.
func (b nodeBlock) Doubtful(attr, what, fix string) { b.l.warn(b.n.at(attr), what, fix) }

package firewall

import "github.com/emdecloud/ecdeploy/steps"

// nftDepth is how deep chains may jump (NFT_JUMP_STACK_SIZE of the kernel).
const nftDepth = 16

// nftWork is how much a decision may Look at, counted in values that are compared.
// A large list of banned addresses has 100,000; a hostile host's answer may be made
// so that the ways through it have no end.
// A rule counts as nftRuleWork.
const (
	nftWork     = 20_000_000 // about a second
	nftRuleWork = 100
)

// nftEffect is what one base chain does with packets to some ports. Of several
// rules of a kind it names the first.
type nftEffect struct {
	closed  *nftRule          // drops some of these ports by their numbers, or one IP version as a whole
	limited *nftRule          // does so under a condition
	unknown *nftRule          // may drop them, for all we know
	queued  *nftRule          // gives them to something that we do not know
	passed  []*nftRule        // drop them from some addresses; a rule that comes before them would let these in
	dropped []steps.PortRange // what no rule lets in
	lost    bool              // the way through the rules was too long
}

// open reports whether all of the packets come through.
func (e nftEffect) open() bool {
	return e.closed == nil && e.unknown == nil && e.queued == nil && len(e.dropped) == 0 && !e.lost
}

// nftWalk follows packets through a base chain.
type nftWalk struct {
	rules  nftRuleset
	chain  *nftChain
	p      nftPackets
	work   *int // what is left of nftWork
	effect nftEffect
}

// spend takes n from what may still be looked at, and reports whether it was there.
func (w *nftWalk) spend(n int) bool {
	*w.work -= n
	w.effect.lost = w.effect.lost || *w.work < 0
	return *w.work >= 0
}

// effectOf is what base chain c does with packets p to these ports. work is what is
// left of nftWork.
func (r nftRuleset) effectOf(c *nftChain, p nftPackets, ports []steps.PortRange, work *int) nftEffect {
	w := &nftWalk{rules: r, chain: c, p: p, work: work}
	left := w.follow(c, ports, nftVia{})
	if c.Policy != "accept" {
		w.effect.dropped = append(w.effect.dropped, left...)
	}
	return w.effect
}

// nftVia is how packets got into a chain.
type nftVia struct {
	depth   int
	perhaps bool     // only some of them, or for all we know
	match   nftMatch // what the jumps there looked at
}

// follow takes packets to ports through chain c and returns those that come out at
// its end, with no verdict yet.
func (w *nftWalk) follow(c *nftChain, ports []steps.PortRange, via nftVia) []steps.PortRange {
	if via.depth > nftDepth {
		w.effect.lost = true
		return ports
	}
	left, back := ports, []steps.PortRange(nil)
	for _, rule := range c.Rules {
		if !w.spend(nftRuleWork) {
			return ports
		}
		for _, b := range w.branches(c, rule) {
			if !w.spend((1 + len(left)) * (1 + len(b.match.Sure) + len(b.match.Maybe))) {
				return ports
			}
			b.match = nftMatch{Sure: left}.and(b.match)
			if len(b.match.any()) == 0 {
				continue
			}
			var gone, returned []steps.PortRange
			gone, returned = w.take(c, rule, b, via)
			left = steps.SubtractRanges(left, gone)
			back = append(back, returned...)
		}
	}
	return steps.MergeRanges(append(back, left...))
}

// take is what one branch does. gone are the ports whose packets all end here as
// far as chain c goes; returned those whose packets, or some, leave it without a
// verdict.
func (w *nftWalk) take(c *nftChain, rule *nftRule, b nftBranch, via nftVia) (gone, returned []steps.PortRange) {
	m := b.match
	seen := m
	seen.ByPort, seen.ByFamily, seen.BySource = m.ByPort || via.match.ByPort, m.ByFamily || via.match.ByFamily, m.BySource || via.match.BySource
	switch b.verdict {
	case "continue":
	case "accept":
		gone = m.Sure
	case "return":
		gone, returned = m.Sure, m.any()
	case "drop", "reject":
		gone = m.Sure
		w.drop(rule, seen, via.perhaps)
	case "jump", "goto":
		return w.jump(c, rule, b, nftVia{via.depth + 1, via.perhaps, seen})
	default:
		w.doubt(rule, seen)
	}
	return gone, returned
}

func (w *nftWalk) jump(c *nftChain, rule *nftRule, b nftBranch, via nftVia) (gone, returned []steps.PortRange) {
	target := w.rules.chain(c.Family, c.Table, b.target)
	if target == nil {
		w.doubt(rule, via.match)
		return nil, nil
	}
	out := w.follow(target, b.match.Sure, via)
	via.perhaps = true
	out2 := []steps.PortRange(nil)
	if len(b.match.Maybe) > 0 {
		out2 = w.follow(target, b.match.Maybe, via)
	}
	if b.verdict == "goto" { // at its end they go to where c was jumped to from
		return b.match.Sure, append(out, out2...)
	}
	return steps.SubtractRanges(b.match.Sure, out), nil
}

// drop notes that rule drops what m says.
func (w *nftWalk) drop(rule *nftRule, m nftMatch, perhaps bool) {
	byChoice := m.ByPort || m.ByFamily && w.chain.Family == "inet"
	if len(m.Sure) > 0 && !perhaps {
		if byChoice {
			w.effect.closed = firstRule(w.effect.closed, rule)
		} else {
			w.effect.dropped = append(w.effect.dropped, m.Sure...)
		}
		return
	}
	switch {
	case m.ByPort:
		w.effect.limited = firstRule(w.effect.limited, rule)
	case m.BySource:
		w.effect.passed = append(w.effect.passed, rule)
	default:
		w.effect.unknown = firstRule(w.effect.unknown, rule)
	}
}

// doubt notes that nobody knows what rule does.
func (w *nftWalk) doubt(rule *nftRule, m nftMatch) {
	if m.ByPort {
		w.effect.limited = firstRule(w.effect.limited, rule)
		return
	}
	w.effect.queued = firstRule(w.effect.queued, rule)
}

func firstRule(a, b *nftRule) *nftRule {
	if a != nil {
		return a
	}
	return b
}

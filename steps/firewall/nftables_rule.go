package firewall

import (
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/steps"
)

// nftBranch is one way on for packets that a rule or an element of a map matches.
type nftBranch struct {
	match   nftMatch
	verdict string // "accept", "drop", "reject", "jump", "goto", "return", "continue"; "unknown" for all else
	target  string // of jump and goto
}

// branches are what a rule does with packets, in turn. Packets that match no
// branch go on to the next rule.
func (w *nftWalk) branches(c *nftChain, rule *nftRule) []nftBranch {
	var out []nftBranch
	match := nftAlways()
	for i, s := range rule.Expr {
		kind, body := nftOnly(s)
		switch kind {
		case "match":
			o := nftObject(body)
			match = match.and(w.match(c, o["left"], nftText(o["op"]), o["right"]))
		case "vmap":
			for _, b := range w.vmap(c, nftObject(body)) {
				b.match = match.and(b.match)
				out = append(out, b)
			}
		case "accept", "drop", "reject", "return", "continue":
			return append(out, nftBranch{match: match, verdict: kind})
		case "jump", "goto":
			return append(out, nftBranch{match, kind, nftText(nftObject(body)["target"])})
		case "counter", "log", "mangle", "notrack", "ct helper", "ct timeout", "ct expectation", "last", "secmark":
		case "set", "map": // adds to a set, perhaps only within a limit
			if nftObject(body)["stmt"] != nil {
				match = match.and(nftDoubtful())
			}
		case "limit", "quota", "ct count", "connlimit", "meter":
			match = match.and(nftDoubtful())
		default: // queue, an extension of iptables, or what newer versions know
			match = match.and(nftDoubtful())
			if i == len(rule.Expr)-1 && nftText(nftObject(body)["type"]) != "match" {
				out = append(out, nftBranch{match: match, verdict: "unknown"})
			}
		}
	}
	return out
}

// vmap are the branches of a verdict map.
func (w *nftWalk) vmap(c *nftChain, o map[string]any) []nftBranch {
	var out []nftBranch
	elements, complete := w.elements(c, o["data"])
	for _, e := range elements {
		pair := nftList(e)
		if len(pair) != 2 {
			complete = false
			continue
		}
		b := nftBranch{match: w.p.matchValues(o["key"], "==", pair[:1], true)}
		b.verdict, b.target = nftVerdict(pair[1])
		out = append(out, b)
	}
	if !complete {
		out = append(out, nftBranch{match: w.p.matchValues(o["key"], "==", nil, false), verdict: "unknown"})
	}
	return out
}

func nftVerdict(v any) (verdict, target string) {
	kind, body := nftOnly(v)
	switch kind {
	case "accept", "drop", "return", "continue":
		return kind, ""
	case "jump", "goto":
		return kind, nftText(nftObject(body)["target"])
	}
	return "unknown", ""
}

// elements are the values on the right side of a match or the elements of a map;
// complete is false where there may be others.
func (w *nftWalk) elements(c *nftChain, v any) (elements []any, complete bool) {
	if name, isSet := strings.CutPrefix(nftText(v), "@"); isSet {
		elements, complete = w.rules.sets[nftName(c.Family, c.Table, name)]
	} else if kind, body := nftOnly(v); kind == "set" {
		elements, complete = nftList(body), true
	} else {
		elements, complete = nftList(v), true
	}
	if !w.spend(len(elements)) {
		return nil, false
	}
	return elements, complete
}

func (w *nftWalk) match(c *nftChain, left any, op string, right any) nftMatch {
	if kind, absent := w.p.key(left); kind == "flags" && !absent {
		return matchFlags(left, op, right)
	}
	values, complete := w.elements(c, right)
	return w.p.matchValues(left, op, values, complete)
}

// matchFlags looks at the flags of a connection's first packet, which is SYN alone.
func matchFlags(left any, op string, right any) nftMatch {
	const syn = 1 << 1
	mask := 0xff
	ok := true
	if kind, body := nftOnly(left); kind == "&" {
		mask, ok = nftTCPFlags(nftList(body)[1])
	}
	want, ok2 := nftTCPFlags(right)
	if !ok || !ok2 {
		return nftDoubtful()
	}
	yes := map[string]bool{"==": syn&mask == want, "!=": syn&mask != want, "in": syn&mask&want != 0, "!": syn&mask&want == 0}
	if hit, known := yes[op]; !known {
		return nftDoubtful()
	} else if !hit {
		return nftMatch{}
	}
	return nftAlways()
}

// matchValues is the match of left, one key or several joined (concat), with any
// of the values; complete is false where there may be others.
func (p nftPackets) matchValues(left any, op string, values []any, complete bool) nftMatch {
	keys := []any{left}
	if kind, body := nftOnly(left); kind == "concat" {
		keys = nftList(body)
	}
	var m nftMatch
	kinds := make([]string, len(keys))
	for i, k := range keys {
		kind, absent := p.key(k)
		if absent {
			return nftMatch{}
		}
		kinds[i] = kind
		m.ByFamily = m.ByFamily || kind == "family"
		m.BySource = m.BySource || kind == "source"
	}
	for _, v := range values {
		one := p.matchValue(kinds, op, v)
		m.Sure = append(m.Sure, one.Sure...)
		m.Maybe = append(m.Maybe, one.Maybe...)
	}
	if !complete {
		m.Maybe = allPorts()
	}
	m.Sure = steps.MergeRanges(m.Sure)
	m.Maybe = steps.SubtractRanges(steps.MergeRanges(m.Maybe), m.Sure)
	switch op {
	case "==", "in", "<", ">", "<=", ">=":
	case "!=":
		m.Sure = steps.SubtractRanges(steps.SubtractRanges(allPorts(), m.Sure), m.Maybe)
	default:
		m.Sure, m.Maybe = nil, allPorts()
	}
	m.ByPort = slices.Contains(kinds, "port") && len(steps.SubtractRanges([]steps.PortRange{{First: 1, Last: 65535}}, m.any())) > 0
	return m
}

// matchValue is the match with one value, which has as many parts as there are keys.
func (p nftPackets) matchValue(kinds []string, op string, v any) nftMatch {
	if kind, body := nftOnly(v); kind == "elem" { // with a comment, a counter, a time-out
		v = nftObject(body)["val"]
	}
	parts := []any{v}
	if len(kinds) > 1 {
		_, body := nftOnly(v)
		if parts = nftList(body); len(parts) != len(kinds) {
			return nftDoubtful()
		}
	}
	truth, ports := nftYes, allPorts()
	for i, kind := range kinds {
		if kind != "port" {
			t := p.is(kind, parts[i])
			if op != "==" && op != "in" && op != "!=" {
				t = nftMaybe
			}
			truth = min(truth, t)
			continue
		}
		r, ok := comparedPorts(op, parts[i])
		if !ok {
			truth = min(truth, nftMaybe)
			continue
		}
		ports = intersectRanges(ports, r)
	}
	switch truth {
	case nftYes:
		return nftMatch{Sure: ports}
	case nftMaybe:
		return nftMatch{Maybe: ports}
	}
	return nftMatch{}
}

// comparedPorts are the ports that compare so with v; for != those that are equal.
func comparedPorts(op string, v any) ([]steps.PortRange, bool) {
	r, ok := nftPorts(v)
	if !ok || op == "==" || op == "in" || op == "!=" {
		return r, ok
	}
	n := r[0].First
	out, known := map[string]steps.PortRange{
		"<": {First: 0, Last: n - 1}, "<=": {First: 0, Last: n}, ">": {First: n + 1, Last: 65535}, ">=": {First: n, Last: 65535},
	}[op]
	return []steps.PortRange{out}, known && r[0].First == r[0].Last
}

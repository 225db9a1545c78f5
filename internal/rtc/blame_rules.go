package rtc

import (
	"context"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Bounds of what is told of a host's rules.
const (
	maxRules    = 4       // of each kind, in evidence
	maxRuleText = 160     // bytes of one rule
	rulesText   = 1 << 20 // bytes of all rules that are looked at
)

// rulesScript prints the rules of netfilter that drop or refuse, with their
// counters, as each of its tools tells them. It changes nothing.
const rulesScript = `p=$1 n=$2
echo '== ufw'; ufw status verbose 2>/dev/null | head -n 300
echo '== firewalld'; systemctl is-active firewalld 2>/dev/null
echo '== iptables'; $p-save -c 2>/dev/null | grep -E '^\*|^:[A-Z]+ DROP|-j (DROP|REJECT)' | head -c "$n"
echo; echo '== nft'; nft -t list ruleset 2>/dev/null | grep -E '^table |chain |hook | drop| reject|^[[:space:]]*(drop|reject)' | head -c "$n"`

// rule is one that drops or refuses, or the policy of a chain.
type rule struct {
	tool  string // "iptables", "ip6tables" or "nft"
	text  string
	count int64 // packets; -1 where it is not counted
	in    bool  // of a chain that sees what comes in
}

// ruleBook is what rulesScript told.
type ruleBook struct {
	ufw       []string // lines of its status; nil where it is not active
	firewalld bool
	rules     []rule
}

// rules names which rule of the host drops packets to a port: again sends some,
// and a rule whose counter goes up with them is it.
func rules(ctx context.Context, h host.Observer, v6 bool, proto string, port int, again func() int) []string {
	met, after, err := metRules(ctx, h, v6, again)
	if err != nil {
		return []string{"its rules could not be read: " + host.Said(err.Error(), 1)}
	}
	return after.guilty(met, proto, port)
}

// metRules are the rules that packets met which again sends.
func metRules(ctx context.Context, h host.Observer, v6 bool, again func() int) (met []string, after ruleBook, err error) {
	before, err := readRules(ctx, h, v6)
	if err != nil {
		return nil, after, err
	}
	sent := again()
	if after, err = readRules(ctx, h, v6); err != nil {
		return nil, after, err
	}
	return after.met(before, int64(sent)), after, nil
}

func readRules(ctx context.Context, h host.Observer, v6 bool) (ruleBook, error) {
	tool := "iptables"
	if v6 {
		tool = "ip6tables"
	}
	cmd := host.Sh(rulesScript, tool, strconv.Itoa(rulesText))
	cmd.Timeout = requestTime
	res, err := h.Query(ctx, cmd)
	if err != nil {
		return ruleBook{}, err
	}
	return parseRules(host.Clean(string(res[0].Stdout)), tool), nil
}

// parseRules reads what rulesScript printed.
func parseRules(text, tool string) ruleBook {
	var b ruleBook
	var n nftReader
	part := ""
	for line := range strings.Lines(text) {
		line = strings.TrimRight(line, "\n ")
		if p, ok := strings.CutPrefix(line, "== "); ok {
			part = p
			continue
		}
		switch part {
		case "ufw":
			b.ufw = append(b.ufw, line)
		case "firewalld":
			b.firewalld = b.firewalld || line == "active"
		case "iptables":
			if r, ok := parseIptables(line, tool); ok {
				b.rules = append(b.rules, r)
			}
		case "nft":
			if r, ok := n.read(line); ok {
				b.rules = append(b.rules, r)
			}
		}
	}
	if !slices.Contains(b.ufw, "Status: active") {
		b.ufw = nil
	}
	return b
}

var (
	savedRule   = regexp.MustCompile(`^\[(\d+):\d+\] -A (.*)$`)
	savedPolicy = regexp.MustCompile(`^:([A-Z]+) DROP \[(\d+):\d+\]$`)
	nftCount    = regexp.MustCompile(` ?counter packets (\d+) bytes \d+`)
	nftPort     = regexp.MustCompile(`\b(udp|tcp|th) dport (\{[^}]*\}|\S+)`)
	nftHook     = regexp.MustCompile(`hook (\w+) .*?(?:policy (\w+))?;?$`)
)

// parseIptables reads a line of iptables-save -c.
func parseIptables(line, tool string) (rule, bool) {
	if m := savedPolicy.FindStringSubmatch(line); m != nil {
		return rule{tool, "the default policy of " + m[1] + " is DROP", number(m[2]), m[1] == "INPUT" || m[1] == "PREROUTING"}, true
	}
	m := savedRule.FindStringSubmatch(line)
	if m == nil {
		return rule{}, false
	}
	return rule{tool, m[2], number(m[1]), false}, true
}

// nftReader remembers where in nft's listing it is.
type nftReader struct {
	table, chain string
	in           bool
}

func (n *nftReader) read(line string) (rule, bool) {
	f := strings.Fields(line)
	switch {
	case len(f) >= 3 && f[0] == "table":
		n.table = strings.Join(f[1:len(f)-1], " ")
		return rule{}, false
	case len(f) == 3 && f[0] == "chain":
		n.chain, n.in = f[1], false
		return rule{}, false
	}
	where := n.table + " " + n.chain + ": "
	if m := nftHook.FindStringSubmatch(strings.TrimSpace(line)); m != nil && f[0] == "type" {
		n.in = m[1] == "input" || m[1] == "prerouting" || m[1] == "ingress"
		return rule{"nft", where + "the default policy of hook " + m[1] + " is drop", -1, n.in}, strings.Contains(line, "policy drop")
	}
	r := rule{"nft", where + nftCount.ReplaceAllString(strings.TrimSpace(line), ""), -1, n.in}
	if m := nftCount.FindStringSubmatch(line); m != nil {
		r.count = number(m[1])
	}
	return r, true
}

// met are the rules that half of what was sent or more met since before.
func (b ruleBook) met(before ruleBook, sent int64) []string {
	was := map[string]int64{}
	for _, r := range before.rules {
		was[r.tool+r.text] += r.count
	}
	var out []string
	tool := "" // iptables and nft show the same rules twice
	for _, r := range b.rules {
		n, known := was[r.tool+r.text]
		if met := r.count - n; known && r.count >= 0 && met*2 >= sent && sent > 0 && (tool == "" || tool == r.tool) && len(out) < maxRules {
			tool = r.tool
			out = append(out, fmt.Sprintf("%s: %s (%d of %d packets met this rule)", r.tool, short(r.text), met, sent))
		}
	}
	return out
}

// guilty names the rules that were met; where no counter tells, those that could be.
func (b ruleBook) guilty(met []string, proto string, port int) []string {
	out := met
	if len(out) == 0 {
		out = b.suspects(proto, port)
	}
	if len(out) == 0 {
		out = []string{"none of the rules that iptables-save and nft list ruleset show has met them"}
	}
	return append(out, b.tools(proto, port)...)
}

// suspects are rules without a counter that see what comes in: first those that
// name the port. What iptables counts is none of them.
func (b ruleBook) suspects(proto string, port int) []string {
	counted := slices.ContainsFunc(b.rules, func(r rule) bool { return r.tool != "nft" })
	var named, others []string
	for _, r := range b.rules {
		if r.count >= 0 || !r.in || counted && (strings.HasPrefix(r.text, "ip filter ") || strings.HasPrefix(r.text, "ip6 filter ")) {
			continue
		}
		text := fmt.Sprintf("%s: %s (it has no counter; it could be this)", r.tool, short(r.text))
		switch m := nftPort.FindStringSubmatch(r.text); {
		case m == nil:
			others = append(others, text)
		case (m[1] == proto || m[1] == "th") && covers(strings.ReplaceAll(strings.Trim(m[2], "{ }"), "-", ":"), port):
			named = append(named, text)
		}
	}
	all := slices.Concat(named, others)
	return all[:min(len(all), maxRules)]
}

// tools says what ufw or firewalld, who write such rules, say of a port.
func (b ruleBook) tools(proto string, port int) []string {
	var out []string
	if b.firewalld {
		out = append(out, "firewalld runs on the host: firewall-cmd --list-all")
	}
	if b.ufw == nil {
		return out
	}
	text := "ufw is active on the host"
	for _, line := range b.ufw {
		if d, ok := strings.CutPrefix(line, "Default: "); ok {
			text += ", default: " + short(d)
		}
	}
	found := 0
	for _, line := range b.ufw {
		if found < maxRules && ufwCovers(line, proto, port) {
			found++
			text += "; its rule " + short(strings.Join(strings.Fields(line), " "))
		}
	}
	if found == 0 {
		text += fmt.Sprintf("; none of its rules is for %d/%s", port, proto)
	}
	return append(out, text)
}

var ufwTo = regexp.MustCompile(`^([\d:,]+)(?:/(tcp|udp))?(?: on \S+)?(?: \(v6\))? +(?:ALLOW|DENY|REJECT|LIMIT)\b`)

// ufwCovers reports whether a line of `ufw status` is for a port; lines for a part
// of the host's addresses are not looked at.
func ufwCovers(line, proto string, port int) bool {
	m := ufwTo.FindStringSubmatch(line)
	if m == nil || m[2] != "" && m[2] != proto {
		return false
	}
	return covers(m[1], port)
}

// covers reports whether a list like 80,443,50100:50200 has a port.
func covers(list string, port int) bool {
	for part := range strings.SplitSeq(list, ",") {
		a, b, ok := strings.Cut(strings.TrimSpace(part), ":")
		if !ok {
			b = a
		}
		if first, last := number(a), number(b); first <= int64(port) && int64(port) <= last {
			return true
		}
	}
	return false
}

// short is a text of a host, cut where it is long.
func short(s string) string {
	s = strings.TrimSpace(s)
	if len(s) > maxRuleText {
		return strings.ToValidUTF8(s[:maxRuleText], "") + "..."
	}
	return s
}

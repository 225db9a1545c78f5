package firewall

import (
	"crypto/sha256"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/steps"
)

// nftOwn is a rule of ours: an opening in one chain.
type nftOwn struct {
	Chain   string // "inet filter input"
	Opening Opening
	Version string // "ipv4" or "ipv6" where it is for one alone; "" for both
}

// nftMark begins the comment of every rule of ours.
const nftMark = "ecdeploy "

// nftComment marks our rules for a site. nft takes 128 bytes with the zero at its end
// (NFTNL_UDATA_COMMENT_MAXLEN), a server name may have 255.
func nftComment(site *steps.Site) string {
	c := nftMark + strings.Map(func(r rune) rune {
		if r < ' ' || r > '~' || r == '"' || r == '\\' {
			return '_'
		}
		return r
	}, site.Name)
	if len(c) <= 120 {
		return c
	}
	return fmt.Sprintf("%s %x", c[:96], sha256.Sum256([]byte(site.Name)))[:120]
}

// line is the chain and the rule, just as nft prints rules: by that text the host
// finds it again, whatever its handle is by then.
func (r nftOwn) line(comment string) string {
	var words []string
	if r.Version != "" {
		words = append(words, "meta nfproto "+r.Version)
	}
	if from, err := parseFrom(r.Opening.From); err == nil && from.IsValid() {
		family := "ip"
		if from.Addr().Is6() {
			family = "ip6"
		}
		words = append(words, family+" saddr "+nftPrefix(from))
	}
	ports := strings.Replace(r.Opening.Ports(), ":", "-", 1)
	words = append(words, r.Opening.Proto+" dport "+ports, `accept comment "`+comment+`"`)
	return r.Chain + " " + strings.Join(words, " ")
}

// parseFrom reads an address or a network; "" is the zero prefix, for the world.
func parseFrom(from string) (netip.Prefix, error) {
	if from == "" {
		return netip.Prefix{}, nil
	}
	if p, err := netip.ParsePrefix(from); err == nil {
		return p.Masked(), nil
	}
	a, err := netip.ParseAddr(from)
	if err != nil || a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("%q is not an address", from)
	}
	a = a.Unmap()
	return netip.PrefixFrom(a, a.BitLen()), nil
}

func nftPrefix(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}

// parseOwn reads a rule that nftOwn wrote; ok is false for one that somebody
// has changed since.
func parseOwn(c *nftChain, rule *nftRule) (own nftOwn, ok bool) {
	own.Chain = c.String()
	if len(rule.Expr) == 0 {
		return own, false
	}
	matches, verdict := rule.Expr[:len(rule.Expr)-1], rule.Expr[len(rule.Expr)-1]
	if kind, _ := nftOnly(verdict); kind != "accept" {
		return own, false
	}
	for _, s := range matches {
		kind, body := nftOnly(s)
		m := nftObject(body)
		if kind != "match" || nftText(m["op"]) != "==" || !own.read(m["left"], m["right"]) {
			return own, false
		}
	}
	return own, own.Opening.Proto != ""
}

// read takes over what one match says.
func (r *nftOwn) read(left, right any) bool {
	kind, body := nftOnly(left)
	o := nftObject(body)
	protocol, field := nftText(o["protocol"]), nftText(o["field"])
	switch {
	case kind == "meta" && nftText(o["key"]) == "nfproto":
		r.Version = nftText(right)
		return r.Version == "ipv4" || r.Version == "ipv6"
	case kind == "payload" && field == "saddr":
		if name, b := nftOnly(right); name == "prefix" {
			bits, _ := nftObject(b)["len"].(float64)
			r.Opening.From = nftText(nftObject(b)["addr"]) + "/" + strconv.Itoa(int(bits))
		} else {
			r.Opening.From = nftText(right)
		}
		_, err := parseFrom(r.Opening.From)
		return err == nil && r.Opening.From != ""
	case kind == "payload" && field == "dport" && (protocol == "tcp" || protocol == "udp") && r.Opening.Proto == "":
		ports, ok := nftPorts(right)
		if !ok {
			return false
		}
		r.Opening.Proto, r.Opening.First, r.Opening.Last = protocol, ports[0].First, ports[0].Last
		return true
	}
	return false
}

// sameOpening compares openings, where an address may be written in several ways.
func sameOpening(a, b Opening) bool {
	fromA, errA := parseFrom(a.From)
	fromB, errB := parseFrom(b.From)
	a.From, b.From = "", ""
	return errA == nil && errB == nil && fromA == fromB && a == b
}

// nftChange is one transaction that takes rules of ours away and puts others to the
// top of their chains.
func nftChange(site *steps.Site, remove, insert []nftOwn) steps.Change {
	comment := nftComment(site)
	lines := func(rules []nftOwn) string {
		var out []string
		for _, r := range rules {
			out = append(out, r.line(comment))
		}
		return shellescape.Quote(strings.Join(out, "\n"))
	}
	gone, added := nftOpenings(remove), nftOpenings(insert)
	c := &steps.Exec{Verb: "~", Title: "nftables accept " + added + ", no longer " + gone}
	switch {
	case len(remove) == 0:
		c.Verb, c.Title = "+", "nftables accept "+added
	case len(insert) == 0:
		c.Verb, c.Title = "-", "nftables accept "+gone
	}
	for _, r := range insert {
		c.Makes = append(c.Makes, r.name())
	}
	for _, r := range remove {
		if !slices.Contains(c.Makes, r.name()) {
			c.Ends = append(c.Ends, r.name())
		}
	}
	if len(insert) > 0 {
		c.CheckText = "ec_nft_insert " + lines(insert) + " | nft -c -f -"
	}
	all := lines(slices.Concat(remove, insert))
	c.SaveText = "ec_save_nft " + all
	c.DoText = "ec_nft " + all + " " + lines(insert)
	c.UndoText = "ec_undo_nft " + all
	return c
}

// nftWord begins the names of its rules in the ledger.
const nftWord = "nftables"

func (r nftOwn) name() string {
	return strings.TrimSpace(nftWord + " " + r.Chain + " " + r.Opening.String() + " " + r.Version)
}

// nftOpenings names what rules open, once for all chains.
func nftOpenings(rules []nftOwn) string {
	var open []Opening
	for _, r := range rules {
		if !slices.ContainsFunc(open, func(o Opening) bool { return sameOpening(o, r.Opening) }) {
			open = append(open, r.Opening)
		}
	}
	return openingList(open)
}

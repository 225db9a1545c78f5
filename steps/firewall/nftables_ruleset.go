package firewall

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// nftRuleset is what `nft -j list ruleset` says (libnftables-json(5)), as far as
// it decides what comes in. The host wrote it, so nothing in it is trusted.
type nftRuleset struct {
	chains []*nftChain
	sets   map[string][]any // elements of sets and maps by nftName; without those that packets or time-outs change
}

// nftChain is a chain; Hook is "" for one that is only jumped to.
type nftChain struct {
	Family  string // "inet", "ip", "ip6", "netdev", ...
	Table   string
	Name    string
	Type    string // "filter", "nat", "route"
	Hook    string // "input", "prerouting", "ingress", ...
	Policy  string // "accept" or "drop"
	Dormant bool   // its table is switched off
	Owned   bool   // its table belongs to a running program, which alone may edit it, for all we know
	Rules   []*nftRule
}

// String is the chain as commands name it, where plain says that they may.
func (c nftChain) String() string {
	s := strings.Join(strings.Fields(host.Clean(nftName(c.Family, c.Table, c.Name))), " ")
	return strings.ToValidUTF8(s[:min(len(s), 200)], "")
}

func nftName(family, table, name string) string { return family + " " + table + " " + name }

// nftRule is one rule: statements in their order, each an object with one key.
type nftRule struct {
	Handle  int
	Comment string
	Expr    []any
}

// nftObject is a value of JSON by its keys; nil for all other values.
func nftObject(v any) map[string]any {
	o, _ := v.(map[string]any)
	return o
}

// nftList is a list of JSON; any other value is a list of one.
func nftList(v any) []any {
	if list, ok := v.([]any); ok {
		return list
	}
	return []any{v}
}

func nftText(v any) string {
	s, _ := v.(string)
	return s
}

// nftOnly is the key and the value of an object with one key.
func nftOnly(v any) (key string, value any) {
	o := nftObject(v)
	if len(o) != 1 {
		return "", nil
	}
	for key, value = range o {
	}
	return key, value
}

// nftFlag reports whether an object has a flag, which nft writes as a word or
// as a list of words.
func nftFlag(o map[string]any, flag string) bool {
	return slices.ContainsFunc(nftList(o["flags"]), func(v any) bool { return nftText(v) == flag })
}

// nftOwned reports whether a table may have an owner. nft 1.0.6 writes any memory for
// a table's flags, so what we do not know may be that.
func nftOwned(table map[string]any) bool {
	return table["flags"] != nil && slices.ContainsFunc(nftList(table["flags"]), func(v any) bool { return nftText(v) != "dormant" })
}

// parseNFT reads `nft -j list ruleset`.
func parseNFT(b []byte) (nftRuleset, error) {
	var doc struct {
		Items []map[string]any `json:"nftables"`
	}
	r := nftRuleset{sets: map[string][]any{}}
	if err := json.Unmarshal(b, &doc); err != nil {
		return r, fmt.Errorf("read the output of nft -j list ruleset: %w", err)
	}
	tables, chains := map[string]map[string]any{}, map[string]*nftChain{}
	for _, item := range doc.Items {
		kind, body := nftOnly(item)
		o := nftObject(body)
		name := nftName(nftText(o["family"]), nftText(o["table"]), nftText(o["name"]))
		switch kind {
		case "table":
			tables[nftName(nftText(o["family"]), nftText(o["name"]), "")] = o
		case "chain":
			table := tables[nftName(nftText(o["family"]), nftText(o["table"]), "")]
			c := &nftChain{Family: nftText(o["family"]), Table: nftText(o["table"]), Name: nftText(o["name"]), Type: nftText(o["type"]),
				Hook: nftText(o["hook"]), Policy: nftText(o["policy"]), Dormant: nftFlag(table, "dormant"), Owned: nftOwned(table)}
			chains[name], r.chains = c, append(r.chains, c)
		case "set", "map":
			elements, _ := o["elem"].([]any)
			if !nftFlag(o, "timeout") && !nftFlag(o, "dynamic") {
				r.sets[name] = elements
			}
		case "rule":
			handle, _ := o["handle"].(float64)
			expr, _ := o["expr"].([]any)
			if c := chains[nftName(nftText(o["family"]), nftText(o["table"]), nftText(o["chain"]))]; c != nil {
				c.Rules = append(c.Rules, &nftRule{Handle: int(handle), Comment: nftText(o["comment"]), Expr: expr})
			}
		}
	}
	r.markDynamic()
	return r, nil
}

// markDynamic finds the sets that rules themselves fill: nft 1.0 does not say
// so in their flags.
func (r nftRuleset) markDynamic() {
	for _, c := range r.chains {
		for _, rule := range c.Rules {
			for _, s := range rule.Expr {
				kind, body := nftOnly(s)
				if kind != "set" && kind != "map" {
					continue
				}
				name := nftName(c.Family, c.Table, strings.TrimPrefix(nftText(nftObject(body)[kind]), "@"))
				delete(r.sets, name)
			}
		}
	}
}

// withoutElements is the ruleset of an nft that was asked to leave them out.
func (r nftRuleset) withoutElements() nftRuleset {
	r.sets = nil
	return r
}

func (r nftRuleset) chain(family, table, name string) *nftChain {
	i := slices.IndexFunc(r.chains, func(c *nftChain) bool { return c.Family == family && c.Table == table && c.Name == name })
	if i < 0 {
		return nil
	}
	return r.chains[i]
}

// filters are the base chains that a packet to the host itself comes through.
// An accept in one is not the end of it: a drop in any is.
func (r nftRuleset) filters() []*nftChain {
	var out []*nftChain
	for _, c := range r.chains {
		atHook := c.Hook == "input" || c.Hook == "prerouting" || c.Hook == "ingress"
		family := c.Family == "inet" || c.Family == "ip" || c.Family == "ip6" || c.Family == "netdev"
		if atHook && family && c.Type == "filter" && !c.Dormant {
			out = append(out, c)
		}
	}
	return out
}

// mayDrop reports whether any of the chain's rules, or its policy, may drop packets.
func (c *nftChain) mayDrop() bool {
	return c.Policy != "accept" || slices.ContainsFunc(c.Rules, func(r *nftRule) bool {
		return slices.ContainsFunc(r.Expr, func(s any) bool {
			kind, _ := nftOnly(s)
			return slices.Contains([]string{"drop", "reject", "jump", "goto", "vmap", "queue", "xt"}, kind)
		})
	})
}

// nftPlain are the names that may stand in a command and in a file's name. nft
// allows more (quotes, slashes), and a host may say anything.
var nftPlain = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_-]{0,63}$`)

// manager is the program that a chain belongs to, "" for the admin, whose rules
// nothing rewrites behind our back.
func (r nftRuleset) manager(c *nftChain) string {
	prefixed := func(prefix string) bool {
		return slices.ContainsFunc(r.chains, func(o *nftChain) bool {
			return o.Family == c.Family && o.Table == c.Table && strings.HasPrefix(o.Name, prefix)
		})
	}
	switch {
	case c.Table == "firewalld":
		return "firewalld"
	case c.Owned:
		return "the program that owns its table"
	case (c.Family == "ip" || c.Family == "ip6") && c.Name == strings.ToUpper(c.Hook):
		if prefixed("ufw-") || prefixed("ufw6-") {
			return "ufw"
		}
		return "iptables"
	}
	return ""
}

package steps

import (
	"context"
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// opening is a set of ports that must be reachable on a host.
type opening struct {
	Proto string // "tcp" or "udp"
	First int
	Last  int
	From  string // address that may come in; "" for the world
}

func (o opening) ports() string {
	if o.First == o.Last {
		return strconv.Itoa(o.First)
	}
	return fmt.Sprintf("%d:%d", o.First, o.Last)
}

func (o opening) String() string {
	s := strings.Replace(o.ports(), ":", "-", 1) + "/" + o.Proto
	if o.From != "" {
		s += " from " + o.From
	}
	return s
}

// openings are the ports that a site needs on a host: media on the SFU's, and
// its signalling port where a proxy comes over the network.
func openings(site Site, hostName string, s Shared) []opening {
	if site.SFU.Host != hostName {
		return nil
	}
	first, last := site.SFU.Ports.udpRange()
	out := []opening{{Proto: "tcp", First: site.SFU.Ports.TCP, Last: site.SFU.Ports.TCP}, {Proto: "udp", First: first, Last: last}}
	for _, from := range site.Reaches[hostName] {
		port := site.SFU.Ports.Signalling
		out = append(out, opening{"tcp", port, port, s.Sources[from]})
	}
	return out
}

type ufwFacts struct {
	name      string
	installed bool
	active    bool
	allowAll  bool // the default for incoming is allow
	rules     []ufwRule
	firewalld bool
	published []string // "container port": ports that Docker opens past ufw
}

// ufwRule is one line of `ufw status`, as far as it concerns ports.
type ufwRule struct {
	Action string // ALLOW, DENY, REJECT, LIMIT
	Proto  string // "" for both
	First  int
	Last   int
	From   string // "" for anywhere
	V6     bool
	Out    bool
}

// Firewall opens what a site needs on one host. label is "ufw", "none", or ""
// for whichever is there.
func Firewall(site Site, label string) Step {
	probe := func(ctx context.Context, o host.Observer) (ufwFacts, error) {
		res, err := o.Query(ctx, host.Cmd{Argv: []string{"ufw", "status", "verbose"}},
			host.Sh("systemctl -q is-active firewalld"),
			host.Cmd{Argv: []string{"docker", "ps", "--format", "{{.Names}}\t{{.Ports}}"}})
		if err != nil {
			return ufwFacts{}, err
		}
		f := ufwFacts{name: o.Name(), installed: res[0].Code != 127, firewalld: res[1].OK(), published: parsePublished(string(res[2].Stdout))}
		if res[0].OK() {
			f.parseStatus(string(res[0].Stdout))
		}
		return f, nil
	}
	diff := func(f ufwFacts, s Shared) (Decision, error) {
		open := openings(site, f.name, s)
		if len(open) == 0 {
			return Decision{}, nil
		}
		var names []string
		for _, o := range open {
			names = append(names, o.String())
		}
		all := strings.Join(names, ", ")
		switch {
		case label == "none":
			return Decision{Findings: []Finding{{Note, "the firewall of " + f.name + " is left alone, as the plan file says: " + all + " must be open", ""}}}, nil
		case label == "ufw" && !f.installed:
			return Decision{Findings: []Finding{{Error, "ufw is not installed on " + f.name, `say firewall "none" {} in the host block, or install ufw`}}}, nil
		case f.firewalld:
			return Decision{Findings: []Finding{{Warning, "firewalld runs on " + f.name + " and is not supported yet: " + all + " must be open", `open them yourself, then say firewall "none" {} in the host block`}}}, nil
		case !f.active:
			return Decision{Findings: []Finding{{Note, "ufw is not active on " + f.name + ", so nothing is opened there: " + all + " must be open in whatever else filters", ""}}}, nil
		}
		return f.decide(site, open), nil
	}
	return Define("firewall", probe, nil, diff)
}

func (f ufwFacts) decide(site Site, open []opening) Decision {
	var d Decision
	for _, o := range open {
		switch effect, rule := f.effect(o); effect {
		case "open":
		case "closed":
			d.Findings = append(d.Findings, Finding{Error, fmt.Sprintf("a rule of ufw on %s closes %s: %s %d:%d %s", f.name, o, rule.Action, rule.First, rule.Last, rule.Proto),
				"delete that rule (ufw status numbered, ufw delete N); ecdeploy does not undo an admin's decision"})
		default:
			d.Changes = append(d.Changes, ufwAllow(site, o))
		}
	}
	for _, p := range f.published {
		d.Findings = append(d.Findings, Finding{Note, "ufw on " + f.name + " does not govern " + p + ": Docker publishes it past ufw", ""})
	}
	return d
}

// effect says what the rules do to o: "open", "closed" by a rule that comes
// first, or "" where the default decides.
func (f ufwFacts) effect(o opening) (string, ufwRule) {
	for _, r := range f.rules {
		if r.V6 || r.Out || r.Proto != "" && r.Proto != o.Proto || r.Last < o.First || r.First > o.Last {
			continue
		}
		if r.Action == "DENY" || r.Action == "REJECT" {
			if r.From == "" || covers(r.From, o.From) {
				return "closed", r
			}
			continue
		}
		if r.Action == "ALLOW" && r.First <= o.First && r.Last >= o.Last && (r.From == "" || covers(r.From, o.From)) {
			return "open", r
		}
	}
	if f.allowAll {
		return "open", ufwRule{}
	}
	return "", ufwRule{}
}

// covers reports whether the address or network from contains ip.
func covers(from, ip string) bool {
	if ip == "" {
		return false
	}
	if p, err := netip.ParsePrefix(from); err == nil {
		a, err := netip.ParseAddr(ip)
		return err == nil && p.Contains(a)
	}
	return from == ip
}

// ufwAllow is one rule of our own. It is only planned where its effect was not
// there, so deleting it takes away nothing of anybody else's.
func ufwAllow(site Site, o opening) Change {
	rule := []string{"allow"}
	if o.From == "" {
		rule = append(rule, o.ports()+"/"+o.Proto)
	} else {
		rule = append(rule, "proto", o.Proto, "from", o.From, "to", "any", "port", o.ports())
	}
	add := shellescape.QuoteCommand(append(append([]string{"ufw"}, rule...), "comment", "ecdeploy "+site.Name))
	return &Exec{
		Verb: "+", Title: "ufw allow " + o.String(),
		SaveText: "ec_save_ufw",
		DoText:   add + " >/dev/null && ec_keep_ufw",
		UndoText: "ec_undo_ufw " + shellescape.QuoteCommand(rule),
	}
}

// parseStatus reads `ufw status verbose`. Rules that name no port, such as
// application profiles, are left out: they open nothing that a plan needs.
func (f *ufwFacts) parseStatus(s string) {
	for line := range strings.Lines(s) {
		line, _, _ = strings.Cut(strings.TrimSpace(line), "#")
		switch {
		case strings.HasPrefix(line, "Status: active"):
			f.active = true
		case strings.HasPrefix(line, "Default:"):
			f.allowAll = strings.Contains(line, "allow (incoming)")
		default:
			if r, ok := parseUFWRule(line); ok {
				f.rules = append(f.rules, r)
			}
		}
	}
}

func parseUFWRule(line string) (ufwRule, bool) {
	for _, action := range []string{"ALLOW", "DENY", "REJECT", "LIMIT"} {
		to, rest, ok := strings.Cut(line, " "+action+" ")
		if !ok {
			continue
		}
		r := ufwRule{Action: action}
		rest = strings.TrimSpace(rest)
		if out, isOut := strings.CutPrefix(rest, "OUT"); isOut {
			r.Out, rest = true, out
		}
		rest = strings.TrimSpace(strings.TrimPrefix(strings.TrimPrefix(rest, "IN"), "FWD"))
		if strings.Contains(to, " on ") || strings.Contains(rest, " on ") {
			return r, false
		}
		r.V6 = strings.Contains(to, "(v6)")
		to = strings.TrimSpace(strings.ReplaceAll(to, "(v6)", ""))
		if f := strings.Fields(to); len(f) != 1 {
			return r, false
		}
		if rest = strings.TrimSpace(strings.ReplaceAll(rest, "(v6)", "")); rest != "Anywhere" {
			r.From = rest
		}
		if to == "Anywhere" {
			r.First, r.Last = 1, 65535
			return r, true
		}
		ports, proto, _ := strings.Cut(to, "/")
		r.Proto = proto
		a, b, isRange := strings.Cut(ports, ":")
		var err error
		if r.First, err = strconv.Atoi(a); err != nil {
			return r, false
		}
		r.Last = r.First
		if isRange {
			r.Last, err = strconv.Atoi(b)
		}
		return r, err == nil
	}
	return ufwRule{}, false
}

// parsePublished finds ports that Docker publishes to the world in the output
// of `docker ps`.
func parsePublished(s string) []string {
	var out []string
	for line := range strings.Lines(s) {
		name, ports, _ := strings.Cut(strings.TrimSpace(line), "\t")
		for p := range strings.SplitSeq(ports, ", ") {
			if at, _, ok := strings.Cut(p, "->"); ok && strings.HasPrefix(at, "0.0.0.0:") {
				out = append(out, "port "+strings.TrimPrefix(at, "0.0.0.0:")+" of container "+name)
			}
		}
	}
	return out
}

package firewall

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// UFW is ufw.
type UFW struct{}

// UFWVariant is ufw.
func UFWVariant() steps.Variant {
	return steps.Variant{
		Block: "firewall", Scope: steps.InHost, Label: "ufw",
		Doc:     "ufw",
		Example: `firewall "ufw" {}`,
		Config:  func() steps.Config { return new(UFW) },
		Effects: &steps.EffectKind{Word: ufwWord, Stage: steps.StageHost, Step: openUFW},
		Detect:  detectUFW,
	}
}

func detectUFW(ctx context.Context, o host.Observer) ([]steps.Found, error) {
	f, err := probeUFW(ctx, o)
	if err != nil || !f.installed {
		return nil, err
	}
	return []steps.Found{{Config: new(UFW), Why: "ufw is installed on " + o.Name(), Sure: f.active || f.problem != ""}}, nil
}

// HostName implements Config.
func (*UFW) HostName() string { return "" }

// Parts implements Config.
func (*UFW) Parts(steps.Decl) []steps.Part { return nil }

// Check implements Config.
func (*UFW) Check(steps.Block, steps.Decl, *steps.Site) {}

// Steps implements Config.
func (*UFW) Steps(d steps.Decl, s *steps.Site) []steps.Placed { return firewallSteps(d, s, openUFW(s)) }

type ufwFacts struct {
	name      string
	installed bool
	active    bool
	problem   string // why its status cannot be read
	allowAll  bool   // the default for incoming is allow
	rules     []ufwRule
	published []steps.PublishedPort // which Docker opens past ufw
}

// ufwRule is one line of `ufw status`, as far as it concerns ports.
type ufwRule struct {
	Action  string // ALLOW, DENY, REJECT, LIMIT
	Proto   string // "" for both
	Ports   []steps.PortRange
	From    string // "" for anywhere
	V6      bool
	Part    string // "on eth0" or an address of the host that it is for alone; "" for all
	Comment string
}

func (r ufwRule) String() string {
	s := steps.FormatRanges(r.Ports)
	if r.Proto != "" {
		s += "/" + r.Proto
	}
	if r.Part != "" {
		s += " " + r.Part
	}
	return s + " " + r.Action + " from " + cmp.Or(r.From, "anywhere")
}

// overlaps and contains compare a rule's ports with a range.
func (r ufwRule) overlaps(first, last int) bool {
	return slices.ContainsFunc(r.Ports, func(p steps.PortRange) bool { return p.First <= last && p.Last >= first })
}

func (r ufwRule) contains(first, last int) bool {
	return slices.ContainsFunc(r.Ports, func(p steps.PortRange) bool { return p.First <= first && p.Last >= last })
}

// openUFW opens what a site needs on one host.
func openUFW(site *steps.Site) steps.Step {
	diff := func(f ufwFacts, s steps.Shared) (steps.Decision, error) {
		open := Openings(site, f.name, s)
		switch {
		case !f.installed && len(open) == 0:
			return steps.Decision{Stands: steps.Refs(steps.EntryEffect, ufwWord)}, nil // its rules went with it
		case !f.installed:
			return steps.Decision{
				Findings: []steps.Finding{steps.Error.Finding("ufw is not installed on "+f.name, `say firewall "none" {} in the host block, or install ufw`)},
			}, nil
		case f.problem != "":
			return steps.Decision{Findings: []steps.Finding{f.silent(site)}}, nil
		case !f.active && len(open) == 0:
			return f.decide(site, nil), nil
		case !f.active:
			return steps.Decision{
				Stands: steps.Refs(steps.EntryEffect, ufwWord),
				Findings: []steps.Finding{steps.Note.Finding("ufw is not active on "+f.name+", so nothing is opened there: "+
					openingList(open)+" must be open in whatever else filters",
					"")},
			}, nil
		}
		return f.decide(site, open), nil
	}
	return steps.Define("firewall", probeUFW, shareUFW, diff)
}

// ufwOpens tells other firewalls of a host that ufw opens its own chains itself.
var ufwOpens = steps.Key[bool]{Name: "ufw opens what the site needs"}

func shareUFW(f ufwFacts, s *steps.Shared) {
	if f.active {
		steps.Put(s, ufwOpens, f.name, true)
	}
}

// silent is the finding for a ufw that could not be asked.
func (f ufwFacts) silent(site *steps.Site) steps.Finding {
	return unreadable(site, f.name).Finding("ufw on "+f.name+": cannot read its status: "+f.problem,
		`see what "ufw status" says there; firewall "none" {} in the host block leaves it alone`)
}

func probeUFW(ctx context.Context, o host.Observer) (ufwFacts, error) {
	res, err := o.Query(ctx, host.Cmd{Argv: []string{"ufw", "status", "verbose"}},
		host.Cmd{Argv: []string{"docker", "ps", "--format", "{{.Names}}\t{{.Ports}}"}})
	if err != nil {
		return ufwFacts{}, err
	}
	f := ufwFacts{name: o.Name(), installed: res[0].Code != 127, published: steps.ParsePublished(string(res[1].Stdout))}
	if res[0].OK() {
		f.parseStatus(string(res[0].Stdout))
	} else if f.installed {
		f.problem = lastLine(host.Clean(string(res[0].Stderr) + string(res[0].Stdout)))
	}
	if f.installed && !f.active && f.problem == "" {
		// Rules that are stored, and that nothing enforces.
		stored, err := o.Query(ctx, host.Cmd{Argv: []string{"ufw", "show", "added"}})
		if err != nil {
			return f, err
		}
		if !stored[0].OK() {
			f.problem = lastLine(host.Clean(string(stored[0].Stderr) + string(stored[0].Stdout)))
		}
		f.parseAdded(string(stored[0].Stdout))
	}
	return f, nil
}

// lastLine is where a program says what went wrong.
func lastLine(s string) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return cmp.Or(lines[len(lines)-1], "it says nothing")
}

func (f ufwFacts) decide(site *steps.Site, open []Opening) steps.Decision {
	d := steps.Decision{Stands: steps.Refs(steps.EntryEffect, ufwWord)}
	for _, o := range open {
		d.Findings = append(d.Findings, f.partly(o)...)
		switch effect, rule := f.effect(o); effect {
		case "open":
		case "closed":
			d.Findings = append(d.Findings, steps.Error.Finding(fmt.Sprintf("a rule of ufw on %s closes %s: %s", f.name, o, rule),
				"delete that rule (ufw status numbered, ufw delete N); ecdeploy does not undo an admin's decision"))
		case "limited":
			// A rule of ours would take its place: ufw keeps one action for the same ports.
			d.Findings = append(d.Findings, steps.Warning.Finding(fmt.Sprintf("a rule of ufw on %s limits %s: %s; people behind one address may be refused",
				f.name, o, rule),
				"delete that rule (ufw status numbered, ufw delete N), then run ecdeploy again"))
		default:
			d.Changes = append(d.Changes, ufwAllow(site, o))
		}
	}
	for _, o := range f.stale(site, open) {
		d.Changes = append(d.Changes, ufwDelete(site, o))
	}
	if len(open) > 0 {
		d.Findings = append(d.Findings, f.ineffectiveRules()...)
	}
	return d
}

// stale are the openings of our own rules for the site that no longer serve it.
func (f ufwFacts) stale(site *steps.Site, open []Opening) []Opening {
	var out []Opening
	for _, r := range f.rules {
		if r.V6 || r.Action != "ALLOW" || r.Comment != ufwComment(site) || len(r.Ports) != 1 {
			continue
		}
		o := Opening{r.Proto, r.Ports[0].First, r.Ports[0].Last, r.From}
		if !slices.Contains(open, o) {
			out = append(out, o)
		}
	}
	return out
}

// ineffectiveRules names rules that have no effect: Docker's own rules take what is
// sent to a published port before ufw sees it.
func (f ufwFacts) ineffectiveRules() []steps.Finding {
	var out []steps.Finding
	var open []string
	for _, p := range f.published {
		if !p.World() {
			continue
		}
		i := slices.IndexFunc(f.rules, func(r ufwRule) bool {
			return !r.V6 && (r.Proto == "" || r.Proto == p.Proto) && r.overlaps(p.First, p.Last) && !r.everything()
		})
		if i < 0 {
			open = append(open, p.String())
			continue
		}
		out = append(out, steps.Note.Finding(fmt.Sprintf("the rule %s of ufw on %s has no effect: Docker publishes %s past ufw", f.rules[i], f.name, p), ""))
	}
	if len(open) > 0 && !f.allowAll {
		out = append(out, steps.Note.Finding("ufw on "+f.name+" does not govern what Docker publishes past it: "+strings.Join(open, ", "), ""))
	}
	return out
}

func (r ufwRule) everything() bool { return r.contains(1, 65535) }

// effect says what the rules do to o: "open", "closed" or "limited" by a rule
// that comes first, or "" where the default decides.
func (f ufwFacts) effect(o Opening) (string, ufwRule) {
	for _, r := range f.rules {
		if !r.concerns(o) || r.Part != "" {
			continue
		}
		switch {
		case r.Action == "DENY" || r.Action == "REJECT":
			return "closed", r
		case r.Action == "LIMIT":
			return "limited", r
		case r.contains(o.First, o.Last):
			return "open", r
		}
	}
	if f.allowAll {
		return "open", ufwRule{}
	}
	return "", ufwRule{}
}

func (r ufwRule) concerns(o Opening) bool {
	return !r.V6 && (r.Proto == "" || r.Proto == o.Proto) && r.overlaps(o.First, o.Last) && (r.From == "" || covers(r.From, o.From))
}

// partly names rules that close o on one interface or address.
func (f ufwFacts) partly(o Opening) []steps.Finding {
	var out []steps.Finding
	for _, r := range f.rules {
		if r.Part != "" && r.concerns(o) {
			out = append(out, steps.Warning.Finding(fmt.Sprintf("a rule of ufw on %s closes %s: %s", f.name, o, r),
				"if clients come in there, delete that rule (ufw status numbered, ufw delete N)"))
		}
	}
	return out
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

func ufwComment(site *steps.Site) string { return "ecdeploy " + site.Name }

// ufwCommands are the arguments of ufw that add and delete the rule for o.
func ufwCommands(site *steps.Site, o Opening) (add, del []string) {
	rule := []string{"allow"}
	if o.From == "" {
		rule = append(rule, o.Ports()+"/"+o.Proto)
	} else {
		rule = append(rule, "proto", o.Proto, "from", o.From, "to", "any", "port", o.Ports())
	}
	return slices.Concat(rule, []string{"comment", ufwComment(site)}), slices.Concat([]string{"--force", "delete"}, rule)
}

// ufwWord begins the names of its rules in the ledger.
const ufwWord = "ufw"

// ufwChange runs ufw with do, and undo with back.
func ufwChange(verb string, o Opening, do []string, undo string, back []string) *steps.Exec {
	return &steps.Exec{
		Verb: verb, Title: "ufw allow " + o.String(),
		SaveText: "ec_save_ufw",
		DoText:   "ufw " + shellescape.QuoteCommand(do) + " >/dev/null && ec_keep_ufw",
		UndoText: undo + " " + shellescape.QuoteCommand(back),
	}
}

// ufwAllow is one rule of our own. It is only planned where its effect was not
// there, so deleting it takes away nothing of anybody else's.
func ufwAllow(site *steps.Site, o Opening) steps.Change {
	add, del := ufwCommands(site, o)
	c := ufwChange("+", o, add, "ec_undo_ufw", del)
	c.Makes = []string{ufwWord + " " + o.String()}
	return c
}

// ufwDelete takes away a rule of our own that nothing needs any more.
func ufwDelete(site *steps.Site, o Opening) steps.Change {
	add, del := ufwCommands(site, o)
	c := ufwChange("-", o, del, "ec_undo_ufw_delete", add)
	c.Ends = []string{ufwWord + " " + o.String()}
	return c
}

// parseStatus reads `ufw status verbose`.
func (f *ufwFacts) parseStatus(s string) {
	for line := range strings.Lines(s) {
		line = strings.TrimSpace(line)
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

// ufwAdded is a line of `ufw show added` as our own rules make it.
var ufwAdded = regexp.MustCompile(`^ufw allow (?:from (\S+) to any port (\S+) proto (tcp|udp)|(\S+)/(tcp|udp)) comment '([^']*)'$`)

// parseAdded reads `ufw show added`, as far as rules are like ours.
func (f *ufwFacts) parseAdded(s string) {
	for line := range strings.Lines(s) {
		m := ufwAdded.FindStringSubmatch(strings.TrimSpace(line))
		if m == nil {
			continue
		}
		f.rules = append(f.rules, ufwRule{Action: "ALLOW", Proto: m[3] + m[5], From: m[1], Comment: m[6],
			Ports: steps.ParseRanges(strings.ReplaceAll(m[2]+m[4], ":", "-"))})
	}
}

// ufwLine is "To ACTION DIRECTION From # comment". What ufw says behind From
// in brackets, such as (log), changes nothing for us.
var ufwLine = regexp.MustCompile(`^(\S.*?) +(ALLOW|DENY|REJECT|LIMIT)(?: (IN|OUT|FWD))? +(\S.*?)(?: \((?:log|log-all|v6|, )+\))*(?: +# (.*))?$`)

// parseUFWRule reads a rule for packets that come in. Of rules for one interface
// or one of the host's addresses alone, those that open are left out: they open
// too little to count on.
func parseUFWRule(line string) (ufwRule, bool) {
	m := ufwLine.FindStringSubmatch(line)
	if m == nil || m[3] == "OUT" || m[3] == "FWD" {
		return ufwRule{}, false
	}
	to, from := m[1], m[4]
	r := ufwRule{Action: m[2], V6: strings.Contains(line, "(v6)"), Comment: strings.TrimSpace(m[5])}
	// "80,443/tcp (Nginx Full)": the verbose form resolves application profiles.
	if at := strings.Index(to, " ("); at > 0 {
		to = to[:at]
	}
	if before, dev, ok := strings.Cut(to, " on "); ok {
		to, r.Part = before, "on "+dev
	}
	if addr, port, ok := strings.Cut(to, " "); ok {
		to, r.Part = port, strings.TrimSpace("to "+addr+" "+r.Part)
	} else if _, err := netip.ParseAddr(to); err == nil {
		to, r.Part = "Anywhere", strings.TrimSpace("to "+to+" "+r.Part)
	}
	if strings.Contains(from, " on ") || r.Part != "" && r.Action != "DENY" && r.Action != "REJECT" {
		return ufwRule{}, false
	}
	for _, proto := range []string{"/tcp", "/udp"} { // a rule for a protocol and no port
		from = strings.TrimSuffix(from, proto)
	}
	if from != "Anywhere" {
		r.From = from
	}
	ports, proto, _ := strings.Cut(to, "/")
	r.Proto = proto
	if ports == "Anywhere" {
		r.Ports = []steps.PortRange{{First: 1, Last: 65535}}
		return r, true
	}
	r.Ports = steps.ParseRanges(strings.ReplaceAll(ports, ":", "-"))
	return r, len(r.Ports) > 0 && (proto == "" || proto == "tcp" || proto == "udp")
}

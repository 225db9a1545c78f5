package machine

import (
	"context"
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// The kernel hands out ports of this range to outgoing connections, and leaves
// out those that are reserved (Linux Documentation/networking/ip-sysctl).
const (
	procEphemeral = "/proc/sys/net/ipv4/ip_local_port_range"
	procReserved  = "/proc/sys/net/ipv4/ip_local_reserved_ports"
	sysctlFile    = "/etc/sysctl.d/60-ecdeploy-ports.conf"
	reservedKey   = "net.ipv4.ip_local_reserved_ports"
)

// Where systemd-sysctl and Debian's procps find settings; of all these files
// the last one by base name wins at boot.
var sysctlFiles = []string{"/etc/sysctl.conf", "/etc/sysctl.d/*.conf", "/run/sysctl.d/*.conf", "/usr/local/lib/sysctl.d/*.conf", "/usr/lib/sysctl.d/*.conf"}

type portsFacts struct {
	name      string
	ephemeral steps.PortRange
	reserved  []steps.PortRange
	writable  bool
	file      host.File
	others    []sysctlSetting
	sites     []string // folders of sites on the host
}

// sysctlSetting is another file that sets the key.
type sysctlSetting struct {
	path     string
	reserved []steps.PortRange
	later    bool // it is read after ours
}

// reservedPorts keeps the kernel from giving LiveKit's ports to outgoing
// connections, besides whatever is reserved already.
func reservedPorts(site *steps.Site) steps.Step {
	return steps.Define("reserved-ports", probePorts, nil, func(f portsFacts, _ steps.Shared) (steps.Decision, error) { return f.decide(site), nil })
}

func probePorts(ctx context.Context, o host.Observer) (portsFacts, error) {
	files, all, res, err := steps.Look(ctx,
		o,
		append([]string{sysctlFile, "/etc/ecdeploy"}, sysctlFiles...),
		host.Cmd{Argv: []string{"cat", procEphemeral, procReserved}},
		host.Cmd{Argv: []string{"test", "-w", procReserved}})
	if err != nil {
		return portsFacts{}, err
	}
	f := portsFacts{name: o.Name(), file: files[sysctlFile], writable: res[1].OK(), others: otherSysctl(all), sites: files["/etc/ecdeploy"].Names}
	f.parseProc(string(res[0].Stdout))
	return f, nil
}

// parseProc reads both files of /proc, one line each; the second is empty
// where nothing is reserved.
func (f *portsFacts) parseProc(s string) {
	lines := strings.SplitN(s+"\n\n", "\n", 3)
	if p := strings.Fields(lines[0]); len(p) == 2 {
		f.ephemeral = steps.PortRange{First: numberOrZero(p[0]), Last: numberOrZero(p[1])}
	}
	f.reserved = steps.ParseRanges(lines[1])
}

// otherSysctl finds what other files reserve.
func otherSysctl(files []host.File) []sysctlSetting {
	var out []sysctlSetting
	for _, f := range files {
		base := path.Base(f.Path)
		if f.Path == "/etc/sysctl.conf" {
			base = "99-sysctl.conf" // as which it is read
		}
		if !f.Exists || f.Path == sysctlFile || slices.ContainsFunc(out, func(s sysctlSetting) bool { return s.path == f.Real }) {
			continue
		}
		for line := range strings.Lines(string(f.Data)) {
			k, v, ok := strings.Cut(line, "=")
			k = strings.ReplaceAll(strings.TrimPrefix(strings.TrimSpace(k), "-"), "/", ".")
			if ok && k == reservedKey {
				out = append(out, sysctlSetting{f.Real, steps.ParseRanges(v), base > path.Base(sysctlFile)})
				break
			}
		}
	}
	return out
}

// portsWord begins the name of a site's share in the ledger.
const portsWord = "ports"

// decide brings the site's share of the reserved ports into the file, or takes it out
// where the site listens on none.
func (f portsFacts) decide(site *steps.Site) steps.Decision {
	d := steps.Decision{Stands: steps.Refs(steps.EntryEffect, portsWord)}
	ports := steps.MergeRanges(slices.DeleteFunc(sitePorts(site, f.name), func(r steps.PortRange) bool { return r.Last < f.ephemeral.First || r.First > f.ephemeral.Last }))
	d.Findings = f.overruled(ports)
	file := parseReserved(string(f.file.Data), f.otherSites(site))
	if !f.file.Exists {
		file.before = f.reserved
	}
	had := slices.Concat(file.shares[site.Name], file.unclaimed)
	delete(file.shares, site.Name)
	byOthers := slices.Clone(file.before)
	for _, s := range f.others {
		byOthers = append(byOthers, s.reserved...)
	}
	if rest := steps.SubtractRanges(file.shares[others], slices.Concat(ports, file.known())); len(rest) > 0 {
		file.shares[others] = rest
	} else {
		delete(file.shares, others)
	}
	if len(steps.SubtractRanges(ports, byOthers)) > 0 {
		file.shares[site.Name] = ports
	}
	keep := slices.Concat(byOthers, file.all())
	live := steps.MergeRanges(slices.Concat(steps.SubtractRanges(f.reserved, steps.SubtractRanges(had, keep)), ports))
	edit, needed := f.edit(file)
	if slices.Equal(live, steps.MergeRanges(f.reserved)) && !needed {
		return d
	}
	if !f.writable && len(ports) > 0 {
		d.Findings = append(d.Findings, steps.Warning.Finding(fmt.Sprintf("the kernel may give ports of %s to outgoing "+
			"connections, and this host does not let root reserve them",
			steps.FormatRanges(ports)),
			"reserve them on the machine that runs this container: sysctl net.ipv4.ip_local_reserved_ports="+steps.FormatRanges(live)))
		return d
	}
	c := steps.Files{Title: "reserved ports " + steps.FormatRanges(live)}
	if needed {
		c.Edits = []steps.FileEdit{edit}
	}
	if len(ports) == 0 && len(had) > 0 {
		c.Title = "reserved ports " + steps.FormatRanges(steps.MergeRanges(had))
	}
	if f.writable {
		c.Activate, c.Reactivate = setReserved(live), unsetReserved(live, f.reserved)
	}
	switch name := portsWord + " reserved"; {
	case file.shares[site.Name] != nil:
		c.Makes = []string{name}
	case len(had) > 0:
		c.Ends = []string{name}
	}
	d.Changes = []steps.Change{&c}
	return d
}

// overruled names files that win over ours at the next boot and lack ports.
func (f portsFacts) overruled(ports []steps.PortRange) []steps.Finding {
	var out []steps.Finding
	for _, l := range f.others {
		if all := steps.MergeRanges(slices.Concat(l.reserved, ports)); l.later && !slices.Equal(all, steps.MergeRanges(l.reserved)) {
			out = append(out, steps.Warning.Finding(l.path+" sets "+reservedKey+" too and wins at the next boot: what is reserved now is free again then",
				"write there: "+reservedKey+" = "+steps.FormatRanges(all)))
		}
	}
	return out
}

// otherSites reports whether the host has other sites.
func (f portsFacts) otherSites(site *steps.Site) bool {
	return slices.ContainsFunc(f.sites, func(s string) bool { return s != site.Slug() })
}

// edit is what makes the file say that; needed is false where it does.
func (f portsFacts) edit(r reserved) (e steps.FileEdit, needed bool) {
	if len(r.all()) > 0 {
		return steps.OwnFile(sysctlFile, f.file, r.text(), 0o644, 0, steps.Secrets{})
	}
	return steps.FileEdit{Path: sysctlFile, Before: steps.Digest(f.file.Data, steps.Secrets{}), Remove: true}, f.file.Exists
}

// sitePorts are the ports that a site listens on, on a host.
func sitePorts(site *steps.Site, on string) []steps.PortRange {
	var ports []steps.PortRange
	for _, p := range site.On(on) {
		for _, l := range p.Listens {
			ports = append(ports, steps.PortRange{First: l.First, Last: l.Last})
		}
	}
	return ports
}

// reserved is what our file says.
type reserved struct {
	before []steps.PortRange            // by others, when it was first written
	shares map[string][]steps.PortRange // by server name
	// unclaimed is what it reserves and says of no site that it is its.
	unclaimed []steps.PortRange
}

const (
	beforeLine = "# Reserved before, by others: "
	shareLine  = "# Of "
	others     = "others" // no server name: those have a dot or a colon
)

// parseReserved reads our file; where there are other sites, what is unclaimed may be
// theirs.
func parseReserved(text string, otherSites bool) reserved {
	r := reserved{shares: map[string][]steps.PortRange{}}
	var all []steps.PortRange
	for line := range strings.Lines(text) {
		line = strings.TrimSpace(line)
		if ports, ok := strings.CutPrefix(line, beforeLine); ok {
			r.before = steps.ParseRanges(ports)
			continue
		}
		if share, ok := strings.CutPrefix(line, shareLine); ok {
			if i := strings.LastIndex(share, ": "); i > 0 {
				r.shares[share[:i]] = steps.ParseRanges(share[i+2:])
			}
			continue
		}
		if strings.HasPrefix(line, reservedKey) {
			all = append(all, steps.ParseRanges(afterEquals(line))...)
		}
	}
	r.unclaimed = steps.SubtractRanges(all, slices.Concat(r.before, r.all()))
	r.unclaimed = steps.MergeRanges(slices.Concat(r.unclaimed, r.shares[others]))
	delete(r.shares, others)
	if otherSites && len(r.unclaimed) > 0 {
		r.shares[others], r.unclaimed = r.unclaimed, nil
	}
	return r
}

// known are the shares of sites that have a line of their own.
func (r reserved) known() []steps.PortRange {
	var out []steps.PortRange
	for name, ports := range r.shares {
		if name != others {
			out = append(out, ports...)
		}
	}
	return out
}

// all are the shares together.
func (r reserved) all() []steps.PortRange {
	var out []steps.PortRange
	for _, ports := range r.shares {
		out = append(out, ports...)
	}
	return steps.MergeRanges(out)
}

func (r reserved) text() steps.Text {
	s := "# Ports that outgoing connections must not take. Written by ecdeploy.\n"
	if len(r.before) > 0 {
		s += beforeLine + steps.FormatRanges(r.before) + "\n"
	}
	for _, name := range slices.Sorted(maps.Keys(r.shares)) {
		s += shareLine + name + ": " + steps.FormatRanges(r.shares[name]) + "\n"
	}
	return steps.Lit(s + reservedKey + " = " + steps.FormatRanges(steps.MergeRanges(slices.Concat(r.before, r.all()))) + "\n")
}

// setReserved is sh text that makes the kernel reserve just these.
func setReserved(r []steps.PortRange) string {
	return "printf '%s\\n' '" + steps.FormatRanges(r) + "' >" + procReserved
}

// unsetReserved undoes setReserved(now), where nobody else reserved others since.
func unsetReserved(now, before []steps.PortRange) string {
	return fmt.Sprintf("case $(cat %s) in '%s') %s ;; '%s') ;; *) ec_note 'other ports were reserved since; they stay' ;; esac",
		procReserved, steps.FormatRanges(now), setReserved(before), steps.FormatRanges(steps.MergeRanges(before)))
}

func afterEquals(s string) string {
	_, after, _ := strings.Cut(s, "=")
	return strings.TrimSpace(after)
}

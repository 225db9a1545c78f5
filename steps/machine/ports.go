package machine

import (
	"context"
	"fmt"
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

func (f portsFacts) decide(site *steps.Site) steps.Decision {
	var d steps.Decision
	ports := slices.DeleteFunc(sitePorts(site, f.name), func(r steps.PortRange) bool { return r.Last < f.ephemeral.First || r.First > f.ephemeral.Last })
	want := steps.MergeRanges(slices.Concat(f.reserved, ports))
	for _, l := range f.others {
		if !l.later {
			continue
		}
		if all := steps.MergeRanges(slices.Concat(l.reserved, ports)); !slices.Equal(all, steps.MergeRanges(l.reserved)) {
			d.Findings = append(d.Findings, steps.Warning.Finding(l.path+" sets "+reservedKey+" too and wins at the next boot: what is reserved now is free again then",
				"write there: "+reservedKey+" = "+steps.FormatRanges(all)))
		}
	}
	kept := steps.MergeRanges(append(slices.Clone(want), steps.ParseRanges(afterEquals(string(f.file.Data)))...))
	before := f.reserved
	if f.file.Exists {
		before = reservedBefore(string(f.file.Data))
	}
	text := reservedText(kept, before)
	live := slices.Equal(want, steps.MergeRanges(f.reserved))
	edit, needed := steps.OwnFile(sysctlFile, f.file, text, 0o644, 0, steps.Secrets{})
	if live && (!f.file.Exists || !needed) {
		return d // reserved by ours or by somebody else
	}
	if !f.writable {
		d.Findings = append(d.Findings, steps.Warning.Finding(fmt.Sprintf("the kernel may give ports of %s to outgoing "+
			"connections, and this host does not let root reserve them",
			steps.FormatRanges(steps.MergeRanges(ports))),
			"reserve them on the machine that runs this container: sysctl net.ipv4.ip_local_reserved_ports="+steps.FormatRanges(want)))
		return d
	}
	d.Changes = []steps.Change{&steps.Files{
		Title:      "reserved ports " + steps.FormatRanges(want),
		Edits:      []steps.FileEdit{edit},
		Activate:   setReserved(want),
		Reactivate: unsetReserved(want, f.reserved),
	}}
	return d
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

// reservedText is our file; before are the ports that others had reserved when it
// was first written.
func reservedText(r, before []steps.PortRange) steps.Text {
	head := "# Ports that outgoing connections must not take. Written by ecdeploy.\n"
	if len(before) > 0 {
		head += beforeLine + steps.FormatRanges(before) + "\n"
	}
	return steps.Lit(head + reservedKey + " = " + steps.FormatRanges(r) + "\n")
}

const beforeLine = "# Reserved before, by others: "

// reservedBefore reads that line of it.
func reservedBefore(file string) []steps.PortRange {
	for line := range strings.Lines(file) {
		if ports, ok := strings.CutPrefix(line, beforeLine); ok {
			return steps.ParseRanges(ports)
		}
	}
	return nil
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

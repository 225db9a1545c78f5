package steps

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// The kernel hands out ports of this range to outgoing connections, and leaves
// out those that are reserved (Linux Documentation/networking/ip-sysctl).
const (
	procEphemeral = "/proc/sys/net/ipv4/ip_local_port_range"
	procReserved  = "/proc/sys/net/ipv4/ip_local_reserved_ports"
	sysctlFile    = "/etc/sysctl.d/60-ecdeploy-ports.conf"
)

type portRange struct{ first, last int }

type portsFacts struct {
	ephemeral portRange
	reserved  []portRange
	writable  bool
	file      host.File
}

// ReservedPorts keeps the kernel from giving LiveKit's ports to outgoing
// connections, beside whatever is reserved already.
func ReservedPorts(site Site) Step {
	probe := func(ctx context.Context, o host.Observer) (portsFacts, error) {
		files, _, res, err := look(ctx, o, []string{sysctlFile}, host.Cmd{Argv: []string{"cat", procEphemeral, procReserved}}, host.Cmd{Argv: []string{"test", "-w", procReserved}})
		if err != nil {
			return portsFacts{}, err
		}
		f := portsFacts{file: files[sysctlFile], writable: res[1].OK()}
		lines := strings.SplitN(string(res[0].Stdout)+"\n\n", "\n", 3)
		if p := strings.Fields(lines[0]); len(p) == 2 {
			f.ephemeral.first, _ = strconv.Atoi(p[0])
			f.ephemeral.last, _ = strconv.Atoi(p[1])
		}
		f.reserved = parseRanges(lines[1])
		return f, nil
	}
	return Define("reserved-ports", probe, nil, func(f portsFacts, _ Shared) (Decision, error) { return f.decide(site.SFU.Ports), nil })
}

func (f portsFacts) decide(p *Ports) Decision {
	first, last := p.udpRange()
	want := slices.Clone(f.reserved)
	for _, r := range []portRange{{first, last}, {p.TCP, p.TCP}} {
		if r.last >= f.ephemeral.first && r.first <= f.ephemeral.last {
			want = append(want, r)
		}
	}
	want = mergeRanges(want)
	kept := mergeRanges(append(slices.Clone(want), parseRanges(afterEquals(string(f.file.Data)))...))
	text := Lit("# Ports that outgoing connections must not take. Written by ecdeploy.\nnet.ipv4.ip_local_reserved_ports = " + formatRanges(kept) + "\n")
	live := slices.Equal(want, mergeRanges(f.reserved))
	edit, needed := ownFile(sysctlFile, f.file, text, 0o644, 0, Keys{})
	if live && (!f.file.Exists || !needed) {
		return Decision{} // reserved by ours or by somebody else
	}
	if !f.writable {
		return Decision{Findings: []Finding{{Warning, fmt.Sprintf("the kernel may give ports of %s to outgoing connections, and this host does not let root reserve them", p.UDP),
			"reserve them on the machine that runs this container: sysctl net.ipv4.ip_local_reserved_ports=" + formatRanges(want)}}}
	}
	set := func(r []portRange) string { return "printf '%s\\n' '" + formatRanges(r) + "' >" + procReserved }
	return Decision{Changes: []Change{&Files{Title: "reserved ports " + formatRanges(want), Edits: []FileEdit{edit}, Activate: set(want), Reactivate: set(f.reserved)}}}
}

func afterEquals(s string) string {
	_, after, _ := strings.Cut(s, "=")
	return strings.TrimSpace(after)
}

// parseRanges reads "1-2,5".
func parseRanges(s string) []portRange {
	var out []portRange
	for p := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		a, b, isRange := strings.Cut(p, "-")
		first, err := strconv.Atoi(strings.TrimSpace(a))
		if err != nil {
			continue
		}
		r := portRange{first, first}
		if isRange {
			if r.last, err = strconv.Atoi(strings.TrimSpace(b)); err != nil {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// mergeRanges sorts and joins ranges that touch.
func mergeRanges(in []portRange) []portRange {
	in = slices.SortedFunc(slices.Values(in), func(a, b portRange) int { return cmp.Compare(a.first, b.first) })
	var out []portRange
	for _, r := range in {
		if n := len(out); n > 0 && r.first <= out[n-1].last+1 {
			out[n-1].last = max(out[n-1].last, r.last)
			continue
		}
		out = append(out, r)
	}
	return out
}

func formatRanges(in []portRange) string {
	var s []string
	for _, r := range in {
		if r.first == r.last {
			s = append(s, strconv.Itoa(r.first))
		} else {
			s = append(s, fmt.Sprintf("%d-%d", r.first, r.last))
		}
	}
	return strings.Join(s, ",")
}

package steps

import (
	"context"
	"slices"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// releasePorts gives ports back to outgoing connections: the site's, or,
// where it was the last one of the host, all that ecdeploy reserved.
func releasePorts(site *Site) Step {
	probe := func(ctx context.Context, o host.Observer) (portsFacts, error) { return probePorts(ctx, o) }
	return Define("remove-reserved-ports", probe, nil, func(f portsFacts, _ Shared) (Decision, error) { return f.giveBack(site), nil })
}

func (f portsFacts) giveBack(site *Site) Decision {
	if !f.file.Exists {
		return Decision{}
	}
	ours := ParseRanges(afterEquals(string(f.file.Data)))
	drop := ours
	if slices.ContainsFunc(f.sites, func(s string) bool { return s != site.Slug() }) {
		drop = sitePorts(site, f.name)
	}
	var others []PortRange // reserved by somebody else's files
	for _, s := range f.others {
		others = append(others, s.reserved...)
	}
	others = append(others, reservedBefore(string(f.file.Data))...)
	live := MergeRanges(slices.Concat(SubtractRanges(f.reserved, drop), others))
	edit := FileEdit{Path: sysctlFile, Before: digest(f.file.Data, Secrets{}), Remove: true}
	if left := MergeRanges(SubtractRanges(ours, drop)); len(SubtractRanges(left, others)) > 0 {
		var needed bool
		if edit, needed = ownFile(sysctlFile, f.file, reservedText(left, reservedBefore(string(f.file.Data))), 0o644, 0, Secrets{}); !needed {
			return Decision{}
		}
	}
	c := Files{Title: "reserved ports " + FormatRanges(MergeRanges(drop)), Edits: []FileEdit{edit}}
	if f.writable {
		c.Activate, c.Reactivate = setReserved(live), unsetReserved(live, f.reserved)
	}
	return Decision{Changes: []Change{&c}}
}

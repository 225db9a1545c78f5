package machine

import (
	"context"
	"slices"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// releasePorts gives ports back to outgoing connections: the site's, or,
// where it was the last one of the host, all that ecdeploy reserved.
func releasePorts(site *steps.Site) steps.Step {
	probe := func(ctx context.Context, o host.Observer) (portsFacts, error) { return probePorts(ctx, o) }
	return steps.Define("remove-reserved-ports", probe, nil, func(f portsFacts, _ steps.Shared) (steps.Decision, error) { return f.giveBack(site), nil })
}

func (f portsFacts) giveBack(site *steps.Site) steps.Decision {
	if !f.file.Exists {
		return steps.Decision{}
	}
	ours := steps.ParseRanges(afterEquals(string(f.file.Data)))
	drop := ours
	if slices.ContainsFunc(f.sites, func(s string) bool { return s != site.Slug() }) {
		drop = sitePorts(site, f.name)
	}
	var others []steps.PortRange // reserved by somebody else's files
	for _, s := range f.others {
		others = append(others, s.reserved...)
	}
	others = append(others, reservedBefore(string(f.file.Data))...)
	live := steps.MergeRanges(slices.Concat(steps.SubtractRanges(f.reserved, drop), others))
	edit := steps.FileEdit{Path: sysctlFile, Before: steps.Digest(f.file.Data, steps.Secrets{}), Remove: true}
	if left := steps.MergeRanges(steps.SubtractRanges(ours, drop)); len(steps.SubtractRanges(left, others)) > 0 {
		var needed bool
		if edit, needed = steps.OwnFile(sysctlFile, f.file, reservedText(left, reservedBefore(string(f.file.Data))), 0o644, 0, steps.Secrets{}); !needed {
			return steps.Decision{}
		}
	}
	c := steps.Files{Title: "reserved ports " + steps.FormatRanges(steps.MergeRanges(drop)), Edits: []steps.FileEdit{edit}}
	if f.writable {
		c.Activate, c.Reactivate = setReserved(live), unsetReserved(live, f.reserved)
	}
	return steps.Decision{Changes: []steps.Change{&c}}
}

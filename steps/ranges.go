package steps

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

// PortRange is ports from First to Last, both included.
type PortRange struct{ First, Last int }

// ParseRanges reads "1-2,5".
func ParseRanges(s string) []PortRange {
	var out []PortRange
	for p := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		a, b, isRange := strings.Cut(p, "-")
		first, err := strconv.Atoi(strings.TrimSpace(a))
		if err != nil {
			continue
		}
		r := PortRange{first, first}
		if isRange {
			if r.Last, err = strconv.Atoi(strings.TrimSpace(b)); err != nil {
				continue
			}
		}
		out = append(out, r)
	}
	return out
}

// MergeRanges sorts and joins ranges that touch.
func MergeRanges(in []PortRange) []PortRange {
	in = slices.SortedFunc(slices.Values(in), func(a, b PortRange) int { return cmp.Compare(a.First, b.First) })
	var out []PortRange
	for _, r := range in {
		if n := len(out); n > 0 && r.First <= out[n-1].Last+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
			continue
		}
		out = append(out, r)
	}
	return out
}

// FormatRanges writes ranges as the kernel does: "1-2,5".
func FormatRanges(in []PortRange) string {
	var s []string
	for _, r := range in {
		if r.First == r.Last {
			s = append(s, strconv.Itoa(r.First))
		} else {
			s = append(s, fmt.Sprintf("%d-%d", r.First, r.Last))
		}
	}
	return strings.Join(s, ",")
}

// SubtractRanges are the ports of a that are not in b, sorted and joined.
func SubtractRanges(a, b []PortRange) []PortRange {
	out := MergeRanges(a)
	for _, cut := range b {
		var next []PortRange
		for _, r := range out {
			if r.First < cut.First {
				next = append(next, PortRange{r.First, min(r.Last, cut.First-1)})
			}
			if r.Last > cut.Last {
				next = append(next, PortRange{max(r.First, cut.Last+1), r.Last})
			}
		}
		out = next
	}
	return out
}

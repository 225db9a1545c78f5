package plans

import (
	"slices"
	"strings"
)

// suggestion is how to fix a wrong name: the nearest right one, else all.
func suggestion(wrong string, names []string, lead string) string {
	if near := nearest(wrong, names); near != "" {
		return "did you mean " + near + "?"
	}
	if len(names) == 0 {
		return "remove it"
	}
	names = slices.Sorted(slices.Values(names))
	return "remove it, or correct its name: " + lead + strings.Join(names, ", ")
}

// nearest is the name that wrong was most likely meant to be, or "".
func nearest(wrong string, names []string) string {
	best, least := "", max(1, min(3, len([]rune(wrong))/2))+1
	for _, n := range slices.Sorted(slices.Values(names)) {
		if d := distance(strings.ToLower(wrong), strings.ToLower(n)); d < least {
			best, least = n, d
		}
	}
	return best
}

// distance is Levenshtein's: how many characters to insert, drop or replace.
func distance(a, b string) int {
	s, t := []rune(a), []rune(b)
	row := make([]int, len(t)+1)
	for j := range row {
		row[j] = j
	}
	for i := range s {
		before := row[0]
		row[0] = i + 1
		for j := range t {
			d := before
			if s[i] != t[j] {
				d++
			}
			before = row[j+1]
			row[j+1] = min(d, row[j]+1, row[j+1]+1)
		}
	}
	return row[len(t)]
}

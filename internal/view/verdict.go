package view

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// verdictState is what a report comes to.
type verdictState int

// Only calls says that a call works: what was not seen is not said to work.
const (
	nothingSeen verdictState = iota
	broken
	silent // media was tried and none arrived, though no link failed
	untried
	calls // media arrived, and no link failed
)

// tally counts a report's links by status; what is no status of ours counts as
// not seen.
type tally struct{ ok, warned, failed, unseen int }

func (c tally) all() int    { return c.ok + c.warned + c.failed + c.unseen }
func (c tally) worked() int { return c.ok + c.warned }

func count(links []rtc.Link) tally {
	var c tally
	for _, l := range links {
		switch l.Status {
		case rtc.OK:
			c.ok++
		case rtc.Warning:
			c.warned++
		case rtc.Failed:
			c.failed++
		default:
			c.unseen++
		}
	}
	return c
}

// networks are those over which all kinds of media that were tried arrived, and
// those over which some did not.
func networks(flows []rtc.Flow) (whole, lacking []string) {
	var order []string
	bad := map[string]bool{}
	for _, f := range flows {
		if !slices.Contains(order, f.Network) {
			order = append(order, f.Network)
		}
		if f.Packets <= 0 {
			bad[f.Network] = true
		}
	}
	for _, n := range order {
		if bad[n] {
			lacking = append(lacking, n)
		} else {
			whole = append(whole, n)
		}
	}
	return whole, lacking
}

// verdict is what a report comes to, in a few words and in detail; with a colon
// between them they are one sentence.
func verdict(r rtc.Report) (state verdictState, short, detail string) {
	c := count(r.Links)
	whole, lacking := networks(r.Flows)
	if first, ok := r.Broken(); ok {
		return broken, "broken at " + line(first.Name), why(r, first) + more(c.failed-1)
	}
	links := fmt.Sprintf("%d of %s%s", c.worked(), plural(c.all(), "link"), but(c))
	switch {
	case len(whole) > 0 && c.worked() > 0:
		return calls, "a call works", links + ", media over " + list(whole) + butNot(lacking) + participants(r.Load)
	case len(lacking) > 0:
		return silent, "no media arrived", "it was tried over " + list(lacking) + ", and no link that was looked at failed"
	case c.worked() > 0:
		return untried, "the links that were looked at work", links + "; no media was tried, so nobody saw whether a call works"
	case c.all() > 0:
		return nothingSeen, "nothing was seen to work", fmt.Sprintf("none of %s could be looked at", plural(c.all(), "link"))
	}
	return nothingSeen, "nothing was seen to work", "nothing was looked at"
}

func butNot(networks []string) string {
	if len(networks) == 0 {
		return ""
	}
	return ", but not over " + list(networks)
}

func participants(l *rtc.Load) string {
	if l == nil {
		return ""
	}
	return fmt.Sprintf(", %d of %s for %s", l.Joined, plural(l.Participants, "participant"), seconds(l.Seconds))
}

// why is the reason of a failure: the words for its code, else what was seen.
func why(r rtc.Report, l rtc.Link) string {
	s := "no reason is known"
	if len(l.Evidence) > 0 {
		s = line(l.Evidence[0])
	}
	for _, e := range r.Explained {
		if e.Code == l.Code && e.Why != "" {
			s = line(e.Why)
		}
	}
	if where := side(l); where != "" {
		s += " (" + where + ")"
	}
	return s
}

// side says where the cause of a failure lies when that is not the host: such a
// failure says nothing of what was deployed.
func side(l rtc.Link) string {
	switch {
	case l.Status != rtc.Failed:
		return ""
	case l.Side == rtc.WaySide:
		return "the cause lies on the way to the host"
	case l.Side == rtc.LaptopSide:
		return "the cause lies at the laptop, not at the site"
	}
	return ""
}

func more(n int) string {
	switch {
	case n <= 0:
		return ""
	case n == 1:
		return "; 1 link more failed"
	}
	return fmt.Sprintf("; %d links more failed", n)
}

// but is what keeps a count from being a plain success.
func but(c tally) string {
	var parts []string
	if c.warned > 0 {
		parts = append(parts, fmt.Sprintf("%d with a warning", c.warned))
	}
	if c.unseen > 0 {
		parts = append(parts, fmt.Sprintf("%d not seen", c.unseen))
	}
	if parts == nil {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

// list is "a", "a and b" or "a, b and c".
func list(words []string) string {
	shown := make([]string, len(words))
	for i, w := range words {
		shown[i] = line(w)
	}
	if len(shown) < 2 {
		return strings.Join(shown, "")
	}
	last := len(shown) - 1
	return strings.Join(shown[:last], ", ") + " and " + shown[last]
}

// grouped are a report's links by part: first the parts that we know, in the
// order of a call, then whatever else a report names, so that no link is lost.
func grouped(links []rtc.Link) (parts []rtc.Part, of map[rtc.Part][]rtc.Link) {
	parts, of = rtc.Parts(), map[rtc.Part][]rtc.Link{}
	for _, l := range links {
		if !slices.Contains(parts, l.Part) {
			parts = append(parts, l.Part)
		}
		of[l.Part] = append(of[l.Part], l)
	}
	return parts, of
}

// human is a duration as people say it; "" for none.
func human(d time.Duration) string {
	switch {
	case d <= 0:
		return ""
	case d < time.Millisecond:
		return "<1 ms"
	case d < time.Second:
		return fmt.Sprintf("%d ms", d.Milliseconds())
	case d < 10*time.Second:
		return fmt.Sprintf("%.1f s", d.Seconds())
	case d < time.Minute:
		return fmt.Sprintf("%.0f s", d.Truncate(time.Second).Seconds())
	case d < time.Hour:
		return fmt.Sprintf("%d min %d s", d/time.Minute, d%time.Minute/time.Second)
	}
	return fmt.Sprintf("%d h %d min", d/time.Hour, d%time.Hour/time.Minute)
}

func seconds(s float64) string {
	if s <= 0 {
		return "0 s"
	}
	return human(time.Duration(s * float64(time.Second)))
}

// millis is a time of the network; "-" where it is not known.
func millis(ms float64) string {
	if ms <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f ms", ms)
}

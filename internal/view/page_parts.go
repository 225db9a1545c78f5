package view

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// cardsOf are the explanations, the failures first.
func cardsOf(site string, r rtc.Report) []card {
	var failures, warnings []card
	for i, e := range r.Explained {
		c := card{
			ID:      fmt.Sprintf("%s-cause-%d", site, i+1),
			Code:    line(string(e.Code)),
			Class:   "warn",
			Sees:    sentence(line(e.Sees)),
			Why:     sentence(line(e.Why)),
			Do:      sentence(line(e.Do)),
			Command: line(e.Command),
		}
		for _, shown := range e.Element {
			c.Element = append(c.Element, line(shown))
		}
		for _, l := range r.Links {
			if l.Code != e.Code {
				continue
			}
			c.Links = append(c.Links, line(l.Name))
			if l.Status == rtc.Failed {
				c.Class = "bad"
			}
		}
		if len(c.Links) > 0 {
			c.Links[0] = sentence(c.Links[0])
		}
		if c.Class == "bad" {
			failures = append(failures, c)
		} else {
			warnings = append(warnings, c)
		}
	}
	return append(failures, warnings...)
}

// networkNames are what people read for the networks of media.
var networkNames = map[string]string{"udp4": "UDP, IPv4", "udp6": "UDP, IPv6", "tcp4": "TCP, IPv4", "tcp6": "TCP, IPv6"}

func flowPagesOf(flows []rtc.Flow) []flowPage {
	var out []flowPage
	for _, f := range flows {
		p := flowPage{
			Network: networkNames[f.Network], Kind: line(f.Kind), Sent: grouping(f.Sent), Arrived: grouping(f.Packets), Lost: grouping(f.Lost),
			Jitter: millis(f.Jitter), RTT: millis(f.RTT), Pair: line(f.Pair), Class: "good", Share: "nothing was sent",
		}
		if p.Network == "" {
			p.Network = line(f.Network)
		}
		if f.Sent > 0 {
			p.Width = 100 * share(f.Packets, f.Sent)
			p.Share = arrived(share(f.Packets, f.Sent))
		}
		switch {
		case f.Packets <= 0:
			p.Class, p.Jitter, p.Lost = "bad", "-", "all"
		case f.Lost > 0:
			p.Class = "some"
		}
		out = append(out, p)
	}
	return out
}

func share(n, of int) float64 {
	if of <= 0 {
		return 0
	}
	return min(1, max(0, float64(n)/float64(of)))
}

// arrived is a share that rounds neither up to all of it nor down to none.
func arrived(share float64) string {
	switch {
	case share <= 0:
		return "0 %"
	case share >= 1:
		return "100 %"
	}
	return fmt.Sprintf("%.1f %%", max(0.1, min(99.9, 100*share)))
}

func loadOf(l *rtc.Load) []figure {
	if l == nil {
		return nil
	}
	class := func(have, want int) string {
		if have < want {
			return "bad"
		}
		return "good"
	}
	return []figure{
		{fmt.Sprintf("%d of %d", l.Joined, l.Participants), "participants joined", class(l.Joined, l.Participants)},
		{fmt.Sprintf("%d of %d", l.Arrived, l.Flows), "flows with media", class(l.Arrived, l.Flows)},
		{arrived(share(l.Packets, l.Expected)), "of " + grouping(l.Expected) + " packets arrived", ""},
		{percent(l.WorstLoss), "lost by the worst flow", ""},
		{seconds(l.Seconds), "of media", ""},
	}
}

// grouping is a number with a thin space between thousands.
func grouping(n int) string {
	s := fmt.Sprint(n)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "\u202f" + s[i:]
	}
	return s
}

// commands begin some of the advice, and are written as they are typed.
var commands = []string{"certbot", "docker", "journalctl", "systemctl", "ufw"}

// sentence is s with a capital letter in front, where it begins with a plain word.
func sentence(s string) string {
	word, _, _ := strings.Cut(s, " ")
	word = strings.TrimRight(word, ",;:")
	if word == "" || slices.Contains(commands, word) || strings.ContainsFunc(word, func(r rune) bool { return r < 'a' || r > 'z' }) {
		return s
	}
	return strings.ToUpper(s[:1]) + s[1:]
}

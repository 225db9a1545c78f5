package view

import (
	"fmt"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// partNames are what people read for the parts of a call's path.
var partNames = map[rtc.Part]string{
	rtc.Hosts:      "hosts",
	rtc.Names:      "names",
	rtc.Homeserver: "homeserver",
	rtc.Auth:       "authorization",
	rtc.Signalling: "signalling",
	rtc.Media:      "media",
	rtc.AsUser:     "as a Matrix user",
}

func partName(p rtc.Part) string {
	if n := partNames[p]; n != "" {
		return n
	}
	return line(string(p))
}

// Widths of a report on a terminal.
const (
	statusWidth = len("not seen")
	maxName     = 72 // one long name must not push all others aside
	textWidth   = 88 // where explanations are wrapped
	labelWidth  = len("people see")
)

// Report shows what was seen of a site: its links by part, the media, what is
// wrong and what to do, and one sentence that sums it up.
func (t *textForm) Report(r rtc.Report) {
	var b strings.Builder
	head := "site " + line(r.Site)
	if d := human(r.Took); d != "" {
		head += " (" + d + ")"
	}
	fmt.Fprintf(&b, "%s\n", t.paint(bold, head))
	b.WriteString(t.links(r))
	b.WriteString(t.flows(r.Flows))
	b.WriteString(t.load(r.Load))
	for _, e := range r.Explained {
		b.WriteString("\n" + t.explanation(e, codeColor(r.Links, e.Code)))
		b.WriteString(t.label("more", "ecdeploy explain "+line(string(e.Code))))
	}
	state, short, detail := verdict(r)
	color := map[verdictState]string{broken: red, silent: red, untried: yellow, nothingSeen: yellow, calls: green}[state]
	t.print("%s\n%s\n", &b, t.paint(bold+";"+color, line(r.Site)+": "+short+": "+detail))
}

// Explain shows what is known of causes.
func (t *textForm) Explain(es []rtc.Explanation) {
	var texts []string
	for _, e := range es {
		texts = append(texts, t.explanation(e, bold))
	}
	t.print("%s", strings.Join(texts, "\n"))
}

func (t *textForm) links(r rtc.Report) string {
	var b strings.Builder
	name, from := 0, 0
	for _, l := range r.Links {
		name = max(name, min(maxName, width(l.Name)))
		from = max(from, width(elsewhere(r, l)))
	}
	parts, of := grouped(r.Links)
	for _, p := range parts {
		if len(of[p]) == 0 {
			continue
		}
		fmt.Fprintf(&b, "  %s\n", t.paint(bold, partName(p)))
		for _, l := range of[p] {
			b.WriteString(t.link(r, l, name, from))
		}
	}
	return b.String()
}

// link is a line of the table, and below it the evidence, where the link is not
// as it should be.
func (t *textForm) link(r rtc.Report, l rtc.Link, name, from int) string {
	status, color := statusWord(l.Status)
	s := "    " + t.paint(color, status) + pad(status, statusWidth) + "  "
	rest := line(l.Name)
	where := elsewhere(r, l)
	took := human(l.Took)
	if where != "" || took != "" {
		rest += pad(rest, name)
	}
	s += rest
	if from > 0 && (where != "" || took != "") {
		s += "  " + t.paint(dim, where)
		if took != "" {
			s += pad(where, from)
		}
	}
	if took != "" {
		s += "  " + t.paint(dim, took)
	}
	s += "\n"
	if l.Status == rtc.OK {
		return s
	}
	gap := strings.Repeat(" ", 4+statusWidth+2)
	for _, e := range l.Evidence {
		s += indented(clean(e), gap)
	}
	if where := side(l); where != "" {
		s += gap + where + "\n"
	}
	return s
}

// elsewhere names the host that looked, where it was not the report's own place.
func elsewhere(r rtc.Report, l rtc.Link) string {
	if l.From == r.From || l.From == "laptop" || l.From == "" {
		return ""
	}
	return "from " + line(l.From)
}

func statusWord(s rtc.Status) (word, color string) {
	switch s {
	case rtc.OK:
		return "ok", green
	case rtc.Warning:
		return "warning", yellow
	case rtc.Failed:
		return "FAILED", red
	case rtc.NotSeen:
		return "not seen", dim
	}
	return line(string(s)), dim
}

// codeColor is that of the worst link that has a code.
func codeColor(links []rtc.Link, c rtc.Code) string {
	color := yellow
	for _, l := range links {
		if l.Code == c && l.Status == rtc.Failed {
			color = red
		}
	}
	return color
}

func (t *textForm) flows(flows []rtc.Flow) string {
	if len(flows) == 0 {
		return ""
	}
	rows := []Row{{"network", "kind", "sent", "arrived", "lost", "jitter", "rtt", "pair"}}
	for _, f := range flows {
		rows = append(rows, Row{f.Network, f.Kind, fmt.Sprint(f.Sent), fmt.Sprint(f.Packets), fmt.Sprint(f.Lost), millis(f.Jitter), millis(f.RTT), f.Pair})
	}
	var table strings.Builder
	newText(&table, t.color).Table(rows)
	return "\n" + indented(table.String(), "  ")
}

func (t *textForm) load(l *rtc.Load) string {
	if l == nil {
		return ""
	}
	return "\n  " + t.paint(bold, "load") + fmt.Sprintf(" %d of %s joined; media for %s on %d of %s; %d of %d packets arrived, the worst flow lost %s\n",
		l.Joined, plural(l.Participants, "participant"), seconds(l.Seconds), l.Arrived, plural(l.Flows, "flow"), l.Packets, l.Expected, percent(l.WorstLoss))
}

// percent is a share of 0 to 1; what is not nothing is not shown as nothing.
func percent(share float64) string {
	if share > 0 && share < 0.001 {
		return "<0.1 %"
	}
	return fmt.Sprintf("%.1f %%", share*100)
}

func (t *textForm) explanation(e rtc.Explanation, color string) string {
	var b strings.Builder
	fmt.Fprintf(&b, "  %s\n", t.paint(color, line(string(e.Code))))
	b.WriteString(t.label("people see", e.Sees))
	b.WriteString(t.label("Element", strings.Join(e.Element, ", ")))
	b.WriteString(t.label("why", e.Why))
	b.WriteString(t.label("do", e.Do))
	b.WriteString(t.label("command", e.Command))
	return b.String()
}

// label is text behind what it is, wrapped; "" where there is none.
func (t *textForm) label(what, text string) string {
	if text == "" {
		return ""
	}
	gap := strings.Repeat(" ", 4+labelWidth+2)
	body := strings.TrimLeft(indented(wrap(line(text), textWidth-len(gap)), gap), " ")
	return "    " + t.paint(dim, what) + pad(what, labelWidth) + "  " + body
}

// wrap breaks s between words, so that a line has at most n characters where
// no word is longer.
func wrap(s string, n int) string {
	var b strings.Builder
	used := 0
	for i, w := range strings.Fields(s) {
		size := width(w)
		switch {
		case i == 0:
		case used+1+size > n:
			b.WriteByte('\n')
			used = 0
		default:
			b.WriteByte(' ')
			used++
		}
		b.WriteString(w)
		used += size
	}
	return b.String()
}

// width is how many characters s has on a terminal.
func width(s string) int { return len([]rune(line(s))) }

// pad fills s up to n characters; it has the blanks alone, for s is painted.
func pad(s string, n int) string { return strings.Repeat(" ", max(0, n-width(s))) }

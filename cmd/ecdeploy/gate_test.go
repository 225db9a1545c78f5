package main

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// What fails on the host's side stops a run; what lies beyond only where the plan
// file is strict. Nothing that was not seen is said to work.
func TestGate(t *testing.T) {
	link := func(id string, part rtc.Part, s rtc.Status, c rtc.Code, side rtc.Side) rtc.Link {
		return rtc.Link{ID: id, Name: "link " + id, Part: part, From: "laptop", Status: s, Code: c, Side: side, Evidence: []string{"seen of " + id}}
	}
	after := func(l rtc.Link, id string) rtc.Link { l.After = id; return l }
	fine := []rtc.Link{link("a", rtc.Names, rtc.OK, "", ""), link("b", rtc.Names, rtc.OK, "", ""), link("c", rtc.Media, rtc.OK, "", "")}
	why := []rtc.Explanation{{Code: "firewall-udp", Why: "the firewall", Do: "open it"}, {Code: "blocked-udp", Why: "the way", Do: "look there"}}
	for _, c := range []struct {
		name   string
		links  []rtc.Link
		strict bool
		stops  string // "" for none
		says   []string
		not    string
	}{
		{"all is well", fine, true, "", []string{"ok names: 2 links work", "ok media: link c"}, "warning"},
		{"the host's firewall", append(fine[:2:2], link("c", rtc.Media, rtc.Failed, "firewall-udp", rtc.HostSide)), false,
			"a call does not work: link c: the firewall (firewall-udp)\n  seen of c\nhint: open it", []string{"failed link c"}, "ok media"},
		{"on the way", append(fine[:2:2], link("c", rtc.Media, rtc.Failed, "blocked-udp", rtc.WaySide)), false, "", []string{"warning link c: the way (blocked-udp)"}, "ok media"},
		{"at the laptop", append(fine[:2:2], link("c", rtc.Media, rtc.Failed, "blocked-udp", rtc.LaptopSide)), false, "", []string{"warning link c"}, "ok media"},
		{"on the way, strict", append(fine[:2:2], link("c", rtc.Media, rtc.Failed, "blocked-udp", rtc.WaySide)), true, "a call does not work: link c: the way", []string{"failed link c"}, ""},
		{"a warning, strict", append(fine[:2:2], link("c", rtc.Media, rtc.Warning, "blocked-udp", "")), true, "", []string{"warning link c"}, "ok media"},
		{"hidden by what lies on the way", append(fine[:1:1], link("b", rtc.Names, rtc.Failed, "blocked-udp", rtc.WaySide), after(link("c", rtc.Media, rtc.NotSeen, "", ""), "b")), false, "", []string{"warning link b", "warning link c: not seen"}, "ok media"},
		{"not seen, next to what lies on the way", append(fine[:1:1], link("b", rtc.Names, rtc.Failed, "blocked-udp", rtc.WaySide), link("c", rtc.Media, rtc.NotSeen, "", "")), false, "link c: not seen", []string{"warning link b"}, "ok media"},
		{"hidden by what is hidden by the host", []rtc.Link{link("a", rtc.Names, rtc.Failed, "firewall-udp", rtc.HostSide), after(link("b", rtc.Names, rtc.NotSeen, "", ""), "a"), after(link("c", rtc.Media, rtc.NotSeen, "", ""), "b")}, false, "link c: not seen", nil, "ok media"},
		{"who only looks", append(fine[:2:2], link("from.x.tcp", rtc.Media, rtc.Failed, "firewall-udp", rtc.HostSide), link("from.x.udp", rtc.Media, rtc.NotSeen, "", "")), false, "", []string{"warning link from.x.tcp", "warning link from.x.udp"}, "ok media"},
		{"not seen, and nothing says why", append(fine[:2:2], link("c", rtc.Media, rtc.NotSeen, "", "")), false, "whether a call works was not seen: link c: not seen\n  seen of c", nil, "ok media"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var said []string
			err := gate(rtc.Report{Site: "x.test", Links: c.links, Explained: why}, c.strict, func(e engine.Event) {
				switch e := e.(type) {
				case engine.Checked:
					word := "ok "
					if e.Err != "" {
						word = "failed "
					}
					said = append(said, word+e.Name)
				case engine.Warned:
					said = append(said, "warning "+e.Text)
				}
			})
			all := strings.Join(said, "\n")
			if (err == nil) != (c.stops == "") || err != nil && !strings.Contains(err.Error(), c.stops) {
				t.Errorf("%v", err)
			}
			for _, want := range c.says {
				if !strings.Contains(all, want) {
					t.Errorf("no %q in\n%s", want, all)
				}
			}
			if c.not != "" && strings.Contains(all, c.not) {
				t.Errorf("%q in\n%s", c.not, all)
			}
		})
	}
}

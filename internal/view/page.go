package view

import (
	_ "embed" // the page's template and style
	"fmt"
	"html/template"
	"io"
	"time"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

//go:embed page.html
var pageHTML string

//go:embed page.css
var pageCSS string

// pageTemplate is parsed once; all that a report says goes through its escaping.
var pageTemplate = template.Must(template.New("page").Parse(pageHTML))

// page is what the template shows. It has finished words alone: all that came
// from hosts is cleaned, and ids and classes are ours.
type page struct {
	Title, Made, MadeAt string
	CSS                 template.CSS
	Sites               []sitePage
}

type sitePage struct {
	ID, Name, Class, Headline, Detail, Causes string
	When, Took                                string
	Counts                                    []figure
	Hops                                      []hop
	Cards                                     []card
	Flows                                     []flowPage
	Load                                      []figure
}

// figure is a number and what it counts.
type figure struct{ Number, Of, Class string }

type hop struct {
	ID, Icon, Title, About, Class, Path, Count string
	Links                                      []linkPage
}

type linkPage struct {
	Name, ID, Class, Status, From, Took, Side, Code, CodeID string
	Open                                                    bool
	Evidence                                                []string
}

type card struct {
	ID, Code, Class, Sees, Why, Do, Command string
	Links, Element                          []string
}

type flowPage struct {
	Network, Kind, Sent, Arrived, Lost, Jitter, RTT, Pair, Share, Class string
	Width                                                               float64 // of the bar, of 100
}

// HTML writes one page of reports that needs nothing besides itself: no script,
// no font, no picture from elsewhere.
func HTML(w io.Writer, made time.Time, reports []rtc.Report) error {
	p := page{Title: "Element Call", Made: made.Format("2 January 2006, 15:04 MST"), MadeAt: made.Format(time.RFC3339), CSS: template.CSS(pageCSS)}
	if len(reports) == 1 {
		p.Title = line(reports[0].Site)
	}
	for i, r := range reports {
		p.Sites = append(p.Sites, sitePageOf(fmt.Sprintf("site-%d", i+1), r))
	}
	if err := pageTemplate.Execute(w, p); err != nil {
		return fmt.Errorf("write page: %w", err)
	}
	return nil
}

func sitePageOf(id string, r rtc.Report) sitePage {
	state, short, detail := verdict(r)
	s := sitePage{
		ID: id, Name: line(r.Site), Headline: sentence(short), Detail: sentence(detail), Took: human(r.Took),
		Class: map[verdictState]string{broken: "bad", silent: "bad", untried: "warn", nothingSeen: "none", calls: "good"}[state],
		Cards: cardsOf(id, r), Flows: flowPagesOf(r.Flows), Load: loadOf(r.Load),
	}
	s.Causes = "What to know, and what to do"
	if state == broken {
		s.Causes = "What is broken, and what to do"
	}
	if !r.Began.IsZero() {
		s.When = r.Began.Format("2 January 2006, 15:04:05 MST")
	}
	c := count(r.Links)
	for _, f := range []struct {
		n         int
		of, class string
	}{{c.ok, "ok", "good"}, {c.warned, "with a warning", "warn"}, {c.failed, "failed", "bad"}, {c.unseen, "not seen", "none"}} {
		if f.n > 0 {
			s.Counts = append(s.Counts, figure{fmt.Sprint(f.n), f.of, f.class})
		}
	}
	s.Hops = hopsOf(s, r)
	return s
}

// about says what a part is for people who do not know the words.
var about = map[rtc.Part]string{
	rtc.Hosts:      "clocks, disks, containers",
	rtc.Names:      "DNS and certificates",
	rtc.Homeserver: "Synapse and .well-known",
	rtc.Auth:       "the JWT service",
	rtc.Signalling: "LiveKit through the proxy",
	rtc.Media:      "sound and picture",
	rtc.AsUser:     "as a person would",
}

var titles = map[rtc.Part]string{
	rtc.Hosts: "Hosts", rtc.Names: "Names", rtc.Homeserver: "Homeserver", rtc.Auth: "Authorization",
	rtc.Signalling: "Signalling", rtc.Media: "Media", rtc.AsUser: "Matrix user",
}

// hopsOf are the parts as hops of the call's path: the path is whole up to the
// first failure, and what comes after it may follow from it.
func hopsOf(s sitePage, r rtc.Report) []hop {
	first, isBroken := r.Broken()
	var hops []hop
	path := "whole"
	parts, of := grouped(r.Links)
	for i, p := range parts {
		h := hop{ID: fmt.Sprintf("%s-hop-%d", s.ID, i+1), Icon: "other", Title: titles[p], About: about[p], Path: path}
		if h.Title == "" {
			h.Title = line(string(p))
		} else {
			h.Icon = string(p)
		}
		h.Class, h.Count = standing(count(of[p]))
		if path == "whole" && isBroken && p == first.Part {
			h.Path, path = "cut", "after"
		}
		for _, l := range of[p] {
			h.Links = append(h.Links, linkPageOf(l, r, s.Cards))
		}
		hops = append(hops, h)
	}
	return hops
}

// standing is how a part stands: its class and a few words.
func standing(c tally) (class, words string) {
	switch {
	case c.failed > 0:
		return "bad", fmt.Sprintf("%d of %d failed", c.failed, c.all())
	case c.all() == 0:
		return "none", "not looked at"
	case c.worked() == 0:
		return "none", "not seen"
	case c.warned > 0:
		return "warn", plural(c.warned, "warning")
	case c.unseen > 0:
		return "good", fmt.Sprintf("%d ok, %d not seen", c.ok, c.unseen)
	}
	return "good", fmt.Sprintf("%d of %d ok", c.ok, c.all())
}

func linkPageOf(l rtc.Link, r rtc.Report, cards []card) linkPage {
	p := linkPage{
		Name: sentence(line(l.Name)),
		ID:   line(l.ID),
		From: elsewhere(r, l),
		Took: human(l.Took),
		Side: sentence(side(l)),
		Code: line(string(l.Code)),
		Open: l.Status != rtc.OK,
	}
	p.Status, _ = statusWord(l.Status)
	p.Class = classOf(l.Status)
	for _, c := range cards {
		if c.Code == p.Code {
			p.CodeID = c.ID
		}
	}
	for _, e := range l.Evidence {
		p.Evidence = append(p.Evidence, clean(e))
	}
	return p
}

func classOf(s rtc.Status) string {
	if c := map[rtc.Status]string{rtc.OK: "good", rtc.Warning: "warn", rtc.Failed: "bad"}[s]; c != "" {
		return c
	}
	return "none"
}

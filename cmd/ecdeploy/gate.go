package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/rtc"
	"github.com/emdecloud/ecdeploy/plans"
)

// prove places a test call on what a run has deployed, before it is announced, and looks
// at the announcement afterwards; nil where the plan file wants less.
func (o *operation) prove(s *session, site plans.Site, p plans.SitePlan, emit engine.Sink) func(context.Context, bool, plans.Keys) error {
	if p.Destroys || site.Verify.Level != "media" && !o.flags.verify {
		return nil
	}
	return func(ctx context.Context, announced bool, keys plans.Keys) error {
		t, err := s.target(site, keys.Pair(), keys.Pair(), p.HTTPS)
		if err != nil {
			return err
		}
		scope := rtc.Deployed
		if announced {
			scope = rtc.Announced
		} else {
			emit(engine.Progress{Site: site.ServerName, Host: fromLaptop, Text: "places a test call, as a client would (at most two minutes)"})
		}
		r, err := rtc.Verify(ctx, t, scope)
		if err != nil {
			return err
		}
		return gate(r, site.Verify.Strict, emit)
	}
}

// fromLaptop is who looks where no host does.
const fromLaptop = "laptop"

// gate tells what was seen, and is an error where it prevents going on: what fails
// on the host's side does, what lies on the way or at the laptop only where the
// plan file is strict: others may well get there. What was not seen prevents it, too,
// unless a failure on the way or at the laptop hides it. Hosts that only look (from)
// may have their own troubles: they stop a run only where the plan file is strict.
func gate(r rtc.Report, strict bool, emit engine.Sink) error {
	var stops []error
	passed := map[rtc.Part][]rtc.Link{}
	for _, l := range r.Links {
		looksOnly := strings.HasPrefix(l.ID, "from.")
		cause, hidden := r.HiddenBy(l)
		switch {
		case l.Status == rtc.OK:
			passed[l.Part] = append(passed[l.Part], l)
		case l.Status == rtc.Failed && (strict || l.Side == rtc.HostSide && !looksOnly):
			why := inWords(r, l)
			emit(engine.Checked{Site: r.Site, Host: l.From, Name: l.Name, Took: l.Took, Err: why.Error()})
			stops = append(stops, fmt.Errorf("%s: %w", l.Name, why))
		case l.Status == rtc.NotSeen && (strict || !looksOnly && (!hidden || cause.Side == rtc.HostSide)):
			stops = append(stops, errors.New(l.Name+": not seen\n  "+strings.Join(l.Evidence, "\n  ")))
		case l.Status == rtc.NotSeen:
			emit(engine.Warned{Site: r.Site, Host: l.From, Text: l.Name + ": not seen\n" + strings.Join(l.Evidence, "\n")})
		default:
			emit(engine.Warned{Site: r.Site, Host: l.From, Text: l.Name + ": " + inWords(r, l).Error()})
		}
	}
	for _, part := range rtc.Parts() {
		if links := passed[part]; len(links) > 0 {
			emit(engine.Checked{Site: r.Site, Host: links[0].From, Name: inSum(part, links), Took: longest(links)})
		}
	}
	if len(stops) == 0 {
		return nil
	}
	if _, broken := r.Broken(); !broken {
		return fmt.Errorf("whether a call works was not seen: %w", errors.Join(stops...))
	}
	return fmt.Errorf("a call does not work: %w", errors.Join(stops...))
}

// inSum names links that work. Media is what a person wants to see; of the others
// how many.
func inSum(part rtc.Part, links []rtc.Link) string {
	switch {
	case part != rtc.Media && len(links) == 1:
		return string(part) + ": 1 link works"
	case part != rtc.Media:
		return fmt.Sprintf("%s: %d links work", part, len(links))
	}
	var names []string
	for _, l := range links {
		names = append(names, l.Name)
	}
	return "media: " + strings.Join(names, ", ")
}

// longest is how long links that were looked at at the same time took.
func longest(links []rtc.Link) time.Duration {
	var d time.Duration
	for _, l := range links {
		d = max(d, l.Took)
	}
	return d
}

// inWords is why a link is broken, what shows it and what to do.
func inWords(r rtc.Report, l rtc.Link) error {
	shown := " (" + string(l.Code) + ")"
	for _, e := range l.Evidence {
		shown += "\n  " + e
	}
	for _, e := range r.Explained {
		if e.Code == l.Code {
			return hint.New(e.Why+shown, e.Do)
		}
	}
	return errors.New(shown)
}

package main

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/rtc"
	"github.com/emdecloud/ecdeploy/internal/view"
	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

// Bounds of a call that verify holds: it is a look, and no test of endurance.
const (
	maxParticipants = 50
	maxSeconds      = 60
)

// verifyOptions are the flags of verify.
type verifyOptions struct {
	participants int
	seconds      int
	helper       bool
	html         string
	prometheus   string
	watch        time.Duration
}

func (a *app) verifyCmd() *cobra.Command {
	o := verifyOptions{}
	c := &cobra.Command{
		Use: "verify FILE", Short: "Prove that a call works: every link from the names to media that arrives", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			if err := o.check(); err != nil {
				return err
			}
			f, err := a.load(args[0], false)
			if err != nil {
				return err
			}
			s, err := a.connect(c.Context(), f, observersOf(f)...)
			if err == nil {
				defer s.Close()
				err = a.verify(c.Context(), s, f.Sites, o)
			}
			if _, shown := errors.AsType[exitCode](err); err != nil && !shown {
				return errors.Join(err, o.publishUnseen(f))
			}
			return err
		},
	}
	f := c.Flags()
	f.IntVar(&o.participants, "participants", 2, "how many take part in a call, 2 to 50")
	f.IntVar(&o.seconds, "seconds", 5, "how long media flows, 1 to 60")
	f.BoolVar(&o.helper, "probe-helper", false, "where media does not get through, let an echo run on the SFU's host for a minute")
	f.StringVar(&o.html, "html", "", "write the report as one web page to `FILE`, too")
	f.StringVar(&o.prometheus, "prometheus", "", "write figures to `FILE`, too, for node_exporter's textfile collector")
	f.DurationVar(&o.watch, "watch", 0, "look again after this `TIME` (1m where none is given), until something is broken")
	f.Lookup("watch").NoOptDefVal = "1m"
	return c
}

func (o verifyOptions) check() error {
	switch {
	case o.participants < 2 || o.participants > maxParticipants:
		return fmt.Errorf("--participants %d: a call has 2 to %d", o.participants, maxParticipants)
	case o.seconds < 1 || o.seconds > maxSeconds:
		return fmt.Errorf("--seconds %d: media flows for 1 to %d", o.seconds, maxSeconds)
	case o.watch < 0 || o.watch > 0 && o.watch < 10*time.Second:
		return fmt.Errorf("--watch %s: at least 10s lie between two looks", o.watch)
	}
	return nil
}

// publishUnseen writes figures that say that nothing was seen to work: those of the
// look before would stand there for ever.
func (o verifyOptions) publishUnseen(f *plans.File) error {
	var reports []rtc.Report
	for _, site := range f.Sites {
		reports = append(reports, rtc.Report{Site: site.ServerName, From: fromLaptop, Began: now()})
	}
	return o.publish(reports)
}

// publish writes figures where they are wanted.
func (o verifyOptions) publish(reports []rtc.Report) error {
	if o.prometheus == "" {
		return nil
	}
	var text bytes.Buffer
	err := view.Prometheus(&text, reports)
	if err == nil {
		err = replaceFile(o.prometheus, text.Bytes(), 0o644)
	}
	if err != nil {
		return fmt.Errorf("--prometheus: %w", err)
	}
	return nil
}

// verify looks once, or until something is broken.
func (a *app) verify(ctx context.Context, s *session, sites []plans.Site, o verifyOptions) error {
	for {
		reports, err := a.verifyAll(ctx, s, sites, o)
		if err != nil {
			return err
		}
		if err := a.report(reports, o); err != nil {
			return err
		}
		if slices.ContainsFunc(reports, func(r rtc.Report) bool { return !r.Proved() }) {
			return exitCode(exitUnhealthy)
		}
		if o.watch == 0 {
			return nil
		}
		select {
		case <-ctx.Done():
			return exitCode(exitOK)
		case <-time.After(o.watch):
		}
		for _, name := range s.names() {
			if err := s.hosts[name].Reconnect(ctx); err != nil {
				return fmt.Errorf("%s: %w", name, err)
			}
		}
	}
}

// verifyUnchanged is what apply --verify does for sites where there was nothing to
// apply.
func (o *operation) verifyUnchanged(ctx context.Context, s *session, p plans.Plan) error {
	if !o.flags.verify {
		return nil
	}
	var rest []plans.Site
	for i, site := range s.file.Sites {
		if p.Sites[i].Empty() {
			rest = append(rest, site)
		}
	}
	return o.verify(ctx, s, rest, verifyOptions{participants: 2, seconds: 5})
}

func (a *app) verifyAll(ctx context.Context, s *session, sites []plans.Site, o verifyOptions) ([]rtc.Report, error) {
	var reports []rtc.Report
	for _, site := range sites {
		r, err := a.verifySite(ctx, s, site, o)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", site.ServerName, err)
		}
		reports = append(reports, r)
	}
	return reports, nil
}

func (a *app) verifySite(ctx context.Context, s *session, site plans.Site, o verifyOptions) (rtc.Report, error) {
	found, err := plans.Look(ctx, s.file, site, s.round())
	if err != nil {
		return rtc.Report{}, err
	}
	credentials := plans.FoundKeys(found)
	if credentials.Keys.IsZero() {
		return rtc.Report{}, hint.New("its hosts have no credentials: nothing is deployed there", "ecdeploy apply deploys it")
	}
	t, err := s.target(site, credentials.Keys.Pair(), credentials.Issues, found.HTTPS)
	if err != nil {
		return rtc.Report{}, err
	}
	t.Participants, t.Duration = o.participants, time.Duration(o.seconds)*time.Second
	t.Helper = t.Helper || o.helper
	if src := site.Verify.AccessToken; src != nil {
		token, err := secretFrom(ctx, "verify.access_token", src.Env, src.File, src.Command)
		if err != nil {
			return rtc.Report{}, err
		}
		t.User = &rtc.User{AccessToken: token}
	}
	if !a.screen.JSON {
		a.screen.Say("%s: checks every link and places test calls of %s", site.ServerName, t.Duration)
	}
	return rtc.Verify(ctx, t, rtc.Whole)
}

// target is a site of the plan file as rtc looks at it.
func (s *session) target(site plans.Site, keys, issues plans.Pair, https map[string]string) (rtc.Target, error) {
	check, err := checker(site)
	if err != nil {
		return rtc.Target{}, err
	}
	context := site.Context()
	_, sfu := context.Route(steps.Signalling)
	t := rtc.NewTarget(context, sfu)
	t.Hosts, t.Keys, t.Issues, t.HTTPS, t.Roots, t.Now = map[string]host.Host{}, keys, issues, https, check.Roots, now
	t.From, t.Helper = site.Verify.From, site.Verify.ProbeHelper
	t.Participants, t.Duration = 2, time.Second
	for _, name := range site.HostNames() {
		t.Hosts[name] = s.hosts[name]
	}
	for _, name := range site.Verify.From {
		if h := cmp.Or(s.hosts[name], s.observers[name]); h != nil {
			t.Hosts[name] = h
		}
	}
	return t, nil
}

// report shows what was seen, and writes it where it is wanted, too.
func (a *app) report(reports []rtc.Report, o verifyOptions) error {
	if o.html != "" {
		var page bytes.Buffer
		if err := view.HTML(&page, now(), reports); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
		if err := replaceFile(o.html, page.Bytes(), 0o644); err != nil {
			return fmt.Errorf("--html: %w", err)
		}
	}
	if err := o.publish(reports); err != nil {
		return err
	}
	for _, r := range reports {
		if err := a.screen.Report(r); err != nil {
			return err
		}
	}
	return nil
}

func (a *app) explainCmd() *cobra.Command {
	return &cobra.Command{
		Use: "explain CODE...", Short: "Say what is behind a code of verify or of Element", Args: cobra.MinimumNArgs(1),
		RunE: func(_ *cobra.Command, args []string) error {
			found := rtc.Explain(strings.Join(args, " "))
			if len(found) == 0 {
				return hint.Wrap(fmt.Errorf("nothing is known of %q", strings.Join(args, " ")),
					"codes of ecdeploy verify, and what Element shows, such as MISSING_MATRIX_RTC_TRANSPORT or \"Waiting for media\"")
			}
			return a.screen.Explain(found)
		},
	}
}

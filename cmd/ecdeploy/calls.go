package main

import (
	"context"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/rtc"
	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

// countCalls says of these sites, all at once, whose calls their plans would interrupt.
func (a *app) countCalls(ctx context.Context, s *session, sites []plans.Site, p []plans.SitePlan) {
	emit := a.screen.Event
	var g errgroup.Group
	for i, site := range sites {
		for _, part := range site.Context().With(steps.Signalling) {
			g.Go(func() error {
				engine.CountCalls(ctx, s.hosts[part.Host], rtc.ServiceOf(part, steps.Signalling).Local, p[i], emit)
				return nil
			})
		}
	}
	_ = g.Wait() // what is not known is an event, too
}

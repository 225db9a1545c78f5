package main

import (
	"testing"

	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/local"
)

// Sites that share a host cost it what one costs, and their own. host-ms is the
// host's time in user and system mode.
func BenchmarkPlanning(b *testing.B) {
	local.Adopt(b)
	apart := func(s *session) map[string]host.Observer {
		return map[string]host.Observer{"x": s.hosts["x"]} // as if there were no rounds
	}
	for _, c := range []struct {
		name  string
		sites int
		round func(*session) map[string]host.Observer
	}{
		{"1_site/apart", 1, apart}, {"1_site/round", 1, (*session).round},
		{"20_sites/apart", 20, apart}, {"20_sites/round", 20, (*session).round},
	} {
		b.Run(c.name, func(b *testing.B) {
			h := local.Start(b, quiet())
			before := h.CPU(b)
			s, x := sessionOn(b, h, c.sites)
			for b.Loop() {
				round := c.round(s)
				var g errgroup.Group
				for _, site := range s.file.Sites {
					g.Go(func() error { _, err := keepKeys(b.Context(), s.file, site, round); return err })
				}
				if err := g.Wait(); err != nil {
					b.Fatal(err)
				}
			}
			s.Close()
			b.ReportMetric(float64((h.CPU(b)-before).Milliseconds())/float64(b.N), "host-ms/op")
			b.ReportMetric(float64(x.calls)/float64(b.N), "calls/op")
			b.ReportMetric(float64(len(x.paths)+len(x.commands))/float64(b.N), "questions/op")
		})
	}
}

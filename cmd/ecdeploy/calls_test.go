package main

import (
	"context"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/view"
	"github.com/emdecloud/ecdeploy/plans"
	"github.com/emdecloud/ecdeploy/steps"
)

// near is a host on which only services are reached.
type near struct{ host.Host }

func (near) Name() string { return "h" }

func (near) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// Nobody waits for one site's LiveKit after the other's: none here answers
// before all are asked.
func TestCallsAtOnce(t *testing.T) {
	const sites = 3
	var asked sync.WaitGroup
	asked.Add(sites)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		asked.Done()
		asked.Wait()
		_, _ = w.Write([]byte(`{"rooms":[{"num_participants":2}]}`))
	}))
	defer srv.Close()
	u, err := url.Parse(srv.URL)
	if err != nil {
		t.Fatal(err)
	}
	var f []plans.Site
	var p []plans.SitePlan
	for i := range sites {
		f = append(f, plans.Site{Blocks: []plans.Declared{{Decl: steps.Decl{Parts: []steps.Part{{Host: "h", Routes: []steps.Route{{Purpose: steps.Signalling, Upstream: u.Host}}}}}}}})
		p = append(p, plans.SitePlan{Site: strconv.Itoa(i) + ".test", Hosts: []plans.HostPlan{{Host: "h", Steps: []plans.StepPlan{
			{Stage: steps.StageSFU, Changes: plans.Changes{&steps.Container{Interrupt: "LiveKit restarts"}}}}}}})
	}
	var out strings.Builder
	(&app{screen: view.NewScreen(nil, &out, nil)}).countCalls(t.Context(), &session{hosts: map[string]host.Host{"h": near{}}}, f, p)
	for i := range sites {
		if !strings.Contains(out.String(), strconv.Itoa(i)+".test: LiveKit restarts, which interrupts 1 call now, with 2 participants") {
			t.Errorf("nothing of site %d:\n%s", i, &out)
		}
	}
	if !strings.Contains(out.String(), "asks LiveKit who is on a call") {
		t.Errorf("it waits in silence:\n%s", &out)
	}
}

package engine

import (
	"context"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// callsTime bounds the question who is on calls; nobody waits longer to be
// asked whether to go on.
const callsTime = 10 * time.Second

// CountCalls emits who is on calls on the LiveKit that answers at url on its host h,
// where p restarts or ends it while it runs.
func CountCalls(ctx context.Context, h host.Host, url string, p steps.SitePlan, emit Sink) {
	if !restartsLiveKit(p, h.Name()) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callsTime)
	defer cancel()
	emit(Progress{Site: p.Site, Host: h.Name(), Text: "asks LiveKit who is on a call"})
	e := Calls{Site: p.Site, Host: h.Name(), Ends: p.Destroys}
	var err error
	if e.Rooms, e.People, err = calls(ctx, h, url, livekit.KeysByRef(p.Found.Values).Pair()); err != nil {
		e.Err = err.Error()
	}
	emit(e)
}

func restartsLiveKit(p steps.SitePlan, on string) bool {
	for _, h := range p.Hosts {
		if h.Host != on {
			continue
		}
		for _, st := range h.Steps {
			for _, c := range st.Changes {
				if st.Stage.TakesTokens() && c.Summary().Interrupt != "" {
					return true
				}
			}
		}
	}
	return false
}

// calls asks LiveKit for its rooms with somebody in them and the people there.
func calls(ctx context.Context, h host.Host, url string, keys livekit.Pair) (rooms, people int, err error) {
	client := Checker{}.client(h, "", true, false)
	defer client.CloseIdleConnections()
	list, err := livekit.Rooms{Client: client, URL: url, Pair: keys, Now: time.Now}.List(ctx)
	if err != nil {
		return 0, 0, err
	}
	for _, r := range list {
		if r.People > 0 {
			rooms++
			people += int(r.People)
		}
	}
	return rooms, people, nil
}

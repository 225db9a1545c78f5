package engine

import (
	"context"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/auth"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// Who is on calls is asked with a token that LiveKit's own code takes, and only
// where a plan restarts a LiveKit that runs. The answers are those of LiveKit
// 1.13.5.
func TestCountCalls(t *testing.T) {
	keys := livekit.Keys{Key: host.NewSecret("APIkey"), Secret: host.NewSecret(strings.Repeat("s", 48))}
	other := keys
	other.Secret = host.NewSecret(strings.Repeat("o", 48))
	restart := steps.Changes{&steps.Container{Interrupt: "LiveKit restarts"}}
	for _, c := range []struct {
		name    string
		changes steps.Changes
		found   livekit.Keys
		status  int
		body    string
		want    *Calls // nil for nothing said
	}{
		{"two calls and an empty room", restart, keys, 200, `{"rooms":[{"sid":"RM_1","name":"a","num_participants":2},{"sid":"RM_2","name":"b","num_participants":3,"num_publishers":1},{"sid":"RM_3","name":"c","num_participants":0}]}`, &Calls{Rooms: 2, People: 5}},
		{"no rooms", restart, keys, 200, `{"rooms":[]}`, &Calls{}},
		{"other credentials in use", restart, other, 200, `{"rooms":[]}`, &Calls{Err: "answers 401, not 200"}},
		{"no credentials known", restart, livekit.Keys{}, 200, `{"rooms":[]}`, &Calls{Err: "answers 401, not 200"}},
		{"it does not work", restart, keys, 503, ``, &Calls{Err: "answers 503, not 200"}},
		{"somebody else's answer", restart, keys, 200, `<html>`, &Calls{Err: "read the answer of"}},
		{"it does not run, or stays", steps.Changes{&steps.Container{}}, keys, 200, `{"rooms":[]}`, nil},
		{"nothing to do", nil, keys, 200, `{"rooms":[]}`, nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				v, err := auth.ParseAPIToken(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
				if err != nil || r.Method != http.MethodPost || r.URL.Path != "/twirp/livekit.RoomService/ListRooms" || r.Header.Get("Content-Type") != "application/json" {
					t.Errorf("%s %s, %v", r.Method, r.URL, err)
					return
				}
				_, grants, err := v.Verify(keys.Secret.Reveal())
				if v.APIKey() != keys.Key.Reveal() || err != nil {
					w.WriteHeader(http.StatusUnauthorized)
					return
				}
				if d := cmp.Diff(&auth.VideoGrant{RoomList: true}, grants.Video); d != "" {
					t.Errorf("the token may do something else: %s", d)
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer srv.Close()
			p := steps.SitePlan{Site: "x.test", Found: refSecrets(c.found), Hosts: []steps.HostPlan{{Host: "h", Steps: []steps.StepPlan{
				{Stage: steps.StageSFU, Changes: c.changes},
				{Stage: steps.StageAuth, Changes: restart},
			}}}}
			var got []Event
			CountCalls(t.Context(), reachable{}, srv.URL, p, func(e Event) { got = append(got, e) })
			if c.want == nil {
				if len(got) > 0 {
					t.Errorf("it says %+v", got)
				}
				return
			}
			if len(got) != 2 {
				t.Fatalf("%d events", len(got))
			}
			if d := cmp.Diff(Progress{Site: "x.test", Host: "h", Text: "asks LiveKit who is on a call"}, got[0]); d != "" {
				t.Errorf("it waits in silence: %s", d)
			}
			e := got[1].(Calls)
			if !strings.Contains(e.Err, c.want.Err) || c.want.Err == "" && e.Err != "" || strings.Contains(e.Err, "APIkey") || strings.Contains(e.Err, "eyJ") {
				t.Errorf("error %q", e.Err)
			}
			if e.Site != "x.test" || e.Host != "h" || e.Rooms != c.want.Rooms || e.People != c.want.People {
				t.Errorf("%+v", e)
			}
		})
	}
}

// A LiveKit that takes no connection, or never answers, is one of which nothing
// is known, and holds nobody up.
func TestCountCallsUnreachable(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	silent := make(chan struct{})
	hangs := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-silent }))
	defer hangs.Close()
	defer close(silent)
	closed := httptest.NewServer(nil)
	closed.Close()
	for name, srv := range map[string]*httptest.Server{"closed": closed, "silent": hangs} {
		var got Calls
		p := steps.SitePlan{Hosts: []steps.HostPlan{{Host: "h", Steps: []steps.StepPlan{{Stage: steps.StageSFU, Changes: steps.Changes{&steps.Container{Interrupt: "LiveKit restarts"}}}}}}}
		CountCalls(ctx, reachable{}, srv.URL, p, func(e Event) {
			if c, ok := e.(Calls); ok {
				got = c
			}
		})
		if got.Err == "" {
			t.Errorf("%s: %+v", name, got)
		}
	}
}

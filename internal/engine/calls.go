package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/plans"
)

// callsTime bounds the question who is on calls; nobody waits longer to be
// asked whether to go on.
const callsTime = 10 * time.Second

// maxRooms is the most of LiveKit's list of rooms that is read, in bytes; a
// room takes about one KiB.
const maxRooms = 4 << 20

// CountCalls emits who is on calls on a site's LiveKit, where p restarts or ends it
// while it runs. h is LiveKit's host.
func CountCalls(ctx context.Context, h host.Host, site plans.Site, p plans.SitePlan, emit Sink) {
	if !restartsLiveKit(p) {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, callsTime)
	defer cancel()
	emit(Progress{Site: p.Site, Host: h.Name(), Text: "asks LiveKit who is on a call"})
	e := Calls{Site: p.Site, Host: h.Name(), Ends: p.Destroys}
	var err error
	if e.Rooms, e.People, err = calls(ctx, h, site.SFU.LocalURL(), p.Found.Pair()); err != nil {
		e.Err = err.Error()
	}
	emit(e)
}

func restartsLiveKit(p plans.SitePlan) bool {
	for _, h := range p.Hosts {
		for _, st := range h.Steps {
			for _, c := range st.Changes {
				if st.Stage == plans.StageSFU && c.Summary().Interrupt != "" {
					return true
				}
			}
		}
	}
	return false
}

// calls asks LiveKit for its rooms with somebody in them and the people there
// (livekit/protocol livekit_room.proto, RoomService/ListRooms, as JSON over Twirp).
// LiveKit counts them every five seconds.
func calls(ctx context.Context, h host.Host, url string, keys livekit.Pair) (rooms, people int, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url+"/twirp/livekit.RoomService/ListRooms", strings.NewReader("{}"))
	if err != nil {
		return 0, 0, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+keys.Token("", livekit.Grant{RoomList: true}, time.Now()))
	client := Checker{}.client(h, "", true, false)
	defer client.CloseIdleConnections()
	resp, err := client.Do(req)
	if err != nil {
		return 0, 0, err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return 0, 0, fmt.Errorf("%s answers %d, not 200", req.URL, resp.StatusCode)
	}
	var list struct {
		Rooms []struct {
			People uint32 `json:"num_participants"`
		} `json:"rooms"`
	}
	if err := json.NewDecoder(io.LimitReader(resp.Body, maxRooms)).Decode(&list); err != nil {
		return 0, 0, fmt.Errorf("read the answer of %s: %w", req.URL, err)
	}
	for _, r := range list.Rooms {
		if r.People > 0 {
			rooms++
			people += int(r.People)
		}
	}
	return rooms, people, nil
}

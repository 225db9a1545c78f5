package rtc

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"time"
)

// delayedTime is how long the delayed event would wait, in milliseconds. It never
// comes: it is cancelled at once, and its room is left.
const delayedTime = 60_000

// leaveTime is how long leaving and forgetting the room may take, also after all
// other time is over.
const leaveTime = 10 * time.Second

// delayedEvent sends an event that is to come later and cancels it, as clients
// do who will not be able to say that they left (MSC4140). That needs a room, which
// is made for it, and left and forgotten whatever comes.
func (u *userLook) delayedEvent(ctx context.Context) (r result) {
	a, err := u.matrix(ctx, http.MethodPost, "v3/createRoom", map[string]any{"preset": "private_chat", "name": "ecdeploy verify"})
	if err != nil {
		return unseen("no room for it: " + err.Error())
	}
	var room struct {
		ID string `json:"room_id"`
	}
	if !a.into(&room) || room.ID == "" {
		return unseen("the user may not make a room for it: " + a.String())
	}
	defer func() {
		if err := u.leave(ctx, room.ID); err != nil {
			r.evidence = append(r.evidence, fmt.Sprintf("the room %s %q of the user was not taken away: %v", short(room.ID), "ecdeploy verify", err))
			if r.status == OK {
				r.status = Warning
			}
		}
	}()
	a, err = u.matrix(ctx,
		http.MethodPut,
		fmt.Sprintf("v3/rooms/%s/send/org.ecdeploy.verify/%s?org.matrix.msc4140.delay=%d", url.PathEscape(room.ID), random(8), delayedTime),
		struct{}{})
	if err != nil {
		return bad("delayed-event", HostSide, err.Error())
	}
	var event struct {
		Delay string `json:"delay_id"`
		ID    string `json:"event_id"`
	}
	switch {
	case a.code == "M_LIMIT_EXCEEDED":
		return bad("rate-limits", HostSide, a.String())
	// MSC4140 has this for a server without delayed events; Synapse forbids them, and
	// nothing else is forbidden to who made the room.
	case a.code == "M_MAX_DELAY_UNSUPPORTED", a.code == "M_FORBIDDEN":
		return bad("delayed-events-off", HostSide, a.String())
	case a.into(&event) && event.Delay == "" && event.ID != "":
		return bad("delayed-events-off", HostSide, "the event was sent at once")
	case event.Delay == "":
		return bad("delayed-event", HostSide, a.String())
	}
	if a, err = u.cancelDelayed(ctx, event.Delay); err != nil {
		return bad("delayed-event", HostSide, "it cannot be cancelled: "+err.Error())
	}
	if a.code == "M_LIMIT_EXCEEDED" {
		return bad("rate-limits", HostSide, "it cannot be cancelled: "+a.String())
	}
	if a.status != http.StatusOK {
		return bad("delayed-event", HostSide, "it cannot be cancelled: "+a.String())
	}
	return good("taken and cancelled")
}

// cancelDelayed cancels a delayed event: at the path that clients use, or at the
// one that MSC4140 has since the action is a part of it.
func (u *userLook) cancelDelayed(ctx context.Context, id string) (answer, error) {
	path := "unstable/org.matrix.msc4140/delayed_events/" + url.PathEscape(id)
	a, err := u.matrix(ctx, http.MethodPost, path, map[string]string{"action": "cancel"})
	if err != nil || a.status != http.StatusNotFound && a.status != http.StatusMethodNotAllowed {
		return a, err
	}
	return u.matrix(ctx, http.MethodPost, path+"/cancel", struct{}{})
}

// leave leaves a room and forgets it, also when ctx has ended. Synapse refuses
// requests that come too fast, and then says when they may come again.
func (u *userLook) leave(ctx context.Context, room string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), leaveTime)
	defer cancel()
	for _, what := range []string{"leave", "forget"} {
		for {
			a, err := u.matrix(ctx, http.MethodPost, "v3/rooms/"+url.PathEscape(room)+"/"+what, struct{}{})
			if err != nil {
				return fmt.Errorf("%s it: %w", what, err)
			}
			if a.status == http.StatusOK {
				break
			}
			if a.code != "M_LIMIT_EXCEEDED" {
				return fmt.Errorf("%s it: %s", what, a)
			}
			select {
			case <-ctx.Done():
				return fmt.Errorf("%s it: %s", what, a)
			case <-time.After(time.Second):
			}
		}
	}
	return nil
}

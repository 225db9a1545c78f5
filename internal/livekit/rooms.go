package livekit

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"time"
)

// maxAnswer is the most that is read of an answer, in bytes. In a list a room
// takes about one KiB.
const maxAnswer = 4 << 20

// Rooms is the room service of one LiveKit (livekit/protocol livekit_room.proto,
// RoomService, as JSON over Twirp). Each of its calls is one request, whose
// deadline is that of the context; its token has only the grant it needs.
type Rooms struct {
	Client *http.Client
	URL    string // of LiveKit, without a slash at its end
	Pair   Pair
	Now    func() time.Time // the clock of tokens
}

// StatusError is an answer of another status than 200, by LiveKit or by a proxy in
// front of it.
type StatusError struct {
	URL    string
	Status int
	Body   string // what was said with it, at most 4 MiB, as it came
}

// Error implements error; it does not hold the body.
func (e *StatusError) Error() string {
	return fmt.Sprintf("%s answers %d, not 200", e.URL, e.Status)
}

// Room is a room as LiveKit lists it.
type Room struct {
	Name   string `json:"name"`
	People uint32 `json:"num_participants"` // counted by LiveKit every five seconds
}

// NewRoom is a room to be made. LiveKit ends it where nobody came within Empty, or
// after Departure since the last one left; both are whole seconds, and 0 means
// LiveKit's own default.
type NewRoom struct {
	Name             string
	Empty, Departure time.Duration
}

// List are all rooms, those with nobody in them included.
func (r Rooms) List(ctx context.Context) ([]Room, error) {
	var list struct {
		Rooms []Room `json:"rooms"`
	}
	url, answer, err := r.call(ctx, "ListRooms", Grant{RoomList: true}, struct{}{})
	if err != nil {
		return nil, err
	}
	if err := json.NewDecoder(bytes.NewReader(answer)).Decode(&list); err != nil {
		return nil, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return list.Rooms, nil
}

// Create makes a room; one of that name that exists already is no error.
func (r Rooms) Create(ctx context.Context, room NewRoom) error {
	_, _, err := r.call(ctx, "CreateRoom", Grant{RoomCreate: true}, struct {
		Name      string `json:"name"`
		Empty     int    `json:"empty_timeout"`
		Departure int    `json:"departure_timeout"`
	}{room.Name, int(room.Empty / time.Second), int(room.Departure / time.Second)})
	return err
}

// Delete ends a room and sends everybody out of it.
func (r Rooms) Delete(ctx context.Context, name string) error {
	_, _, err := r.call(ctx, "DeleteRoom", Grant{RoomCreate: true}, struct {
		Room string `json:"room"`
	}{name})
	return err
}

// call is one request and the body of its answer. The error is a *StatusError, or
// the client's own.
func (r Rooms) call(ctx context.Context, method string, grant Grant, body any) (url string, answer []byte, err error) {
	url = r.URL + "/twirp/livekit.RoomService/" + method
	b, err := json.Marshal(body)
	if err != nil {
		return url, nil, fmt.Errorf("encode request: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(b))
	if err != nil {
		return url, nil, fmt.Errorf("make request: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+r.Pair.Token("", grant, r.Now()))
	resp, err := r.Client.Do(req)
	if err != nil {
		return url, nil, err
	}
	defer resp.Body.Close()
	answer, err = io.ReadAll(io.LimitReader(resp.Body, maxAnswer))
	if resp.StatusCode != http.StatusOK {
		return url, nil, &StatusError{url, resp.StatusCode, string(answer)}
	}
	return url, answer, err
}

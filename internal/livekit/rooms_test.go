package livekit

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/auth"
	protocol "github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"
)

// service answers as LiveKit's room service does, through LiveKit's own code for
// Twirp, and notes what it was asked.
type service struct {
	protocol.RoomService
	asked []proto.Message
}

func (s *service) ListRooms(_ context.Context, r *protocol.ListRoomsRequest) (*protocol.ListRoomsResponse, error) {
	s.asked = append(s.asked, r)
	return &protocol.ListRoomsResponse{Rooms: []*protocol.Room{{Name: "a", NumParticipants: 2}, {Name: "b"}}}, nil
}

func (s *service) CreateRoom(_ context.Context, r *protocol.CreateRoomRequest) (*protocol.Room, error) {
	s.asked = append(s.asked, r)
	return &protocol.Room{Name: r.Name}, nil
}

func (s *service) DeleteRoom(_ context.Context, r *protocol.DeleteRoomRequest) (*protocol.DeleteRoomResponse, error) {
	s.asked = append(s.asked, r)
	return &protocol.DeleteRoomResponse{}, nil
}

var servicePair = makePair("APIkey", strings.Repeat("s", 48))

// serve is a LiveKit with service's answers, for tokens of servicePair alone; it
// notes what each token grants.
func serve(t *testing.T, s *service, granted *[]auth.VideoGrant) Rooms {
	t.Helper()
	twirp := protocol.NewRoomServiceServer(s)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v, err := auth.ParseAPIToken(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if err != nil {
			t.Errorf("the token: %v", err)
			return
		}
		_, claims, err := v.Verify(servicePair.Secret.Reveal())
		if err != nil {
			http.Error(w, "invalid token", http.StatusUnauthorized)
			return
		}
		*granted = append(*granted, *claims.Video)
		http.StripPrefix("/prefix", twirp).ServeHTTP(w, r)
	}))
	t.Cleanup(srv.Close)
	return Rooms{Client: srv.Client(), URL: srv.URL + "/prefix", Pair: servicePair, Now: time.Now}
}

// LiveKit's own code understands what is asked, and each token allows that and no
// more.
func TestRooms(t *testing.T) {
	var s service
	var granted []auth.VideoGrant
	r := serve(t, &s, &granted)
	rooms, err := r.List(t.Context())
	if d := cmp.Diff([]Room{{"a", 2}, {"b", 0}}, rooms); d != "" || err != nil {
		t.Errorf("the rooms: %v %s", err, d)
	}
	if err := r.Create(t.Context(), NewRoom{Name: "c", Empty: 30 * time.Second, Departure: 10 * time.Second}); err != nil {
		t.Error(err)
	}
	if err := r.Delete(t.Context(), "c"); err != nil {
		t.Error(err)
	}
	want := []proto.Message{
		&protocol.ListRoomsRequest{},
		&protocol.CreateRoomRequest{Name: "c", EmptyTimeout: 30, DepartureTimeout: 10},
		&protocol.DeleteRoomRequest{Room: "c"},
	}
	if d := cmp.Diff(want, s.asked, cmp.Comparer(proto.Equal)); d != "" {
		t.Errorf("it asked: %s", d)
	}
	if d := cmp.Diff([]auth.VideoGrant{{RoomList: true}, {RoomCreate: true}, {RoomCreate: true}}, granted); d != "" {
		t.Errorf("the tokens grant: %s", d)
	}
}

// Whoever refuses is told apart from who cannot be reached, and no error holds a
// credential or a token.
func TestRoomsRefused(t *testing.T) {
	var s service
	var granted []auth.VideoGrant
	r := serve(t, &s, &granted)
	r.Pair = makePair("APIkey", strings.Repeat("o", 48))
	err := r.Delete(t.Context(), "c")
	refused, ok := errors.AsType[*StatusError](err)
	if !ok || refused.Status != http.StatusUnauthorized || !strings.Contains(refused.Body, "invalid token") || len(s.asked) > 0 {
		t.Errorf("with another secret: %v", err)
	}
	if err == nil || !strings.HasSuffix(err.Error(), "/prefix/twirp/livekit.RoomService/DeleteRoom answers 401, not 200") || strings.Contains(err.Error(), "eyJ") {
		t.Errorf("it says %v", err)
	}

	html := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write([]byte("<html>")) }))
	r.URL = html.URL
	if _, err := r.List(t.Context()); err == nil || !strings.Contains(err.Error(), "read the answer of "+html.URL) {
		t.Errorf("somebody else's answer: %v", err)
	}
	html.Close()
	_, err = r.List(t.Context())
	if _, ok := errors.AsType[*StatusError](err); ok || err == nil {
		t.Errorf("nobody there: %v", err)
	}
}

package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"net/http"
	"strings"
	"time"

	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
)

// digest is the name of a room on the SFU, or of a participant: unpadded base64
// of the SHA-256 of a JSON list (lk-jwt-service, helper.go).
func digest(parts ...string) string {
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	_ = e.Encode(parts)
	sum := sha256.Sum256(bytes.TrimSuffix(b.Bytes(), []byte("\n")))
	return base64.RawStdEncoding.EncodeToString(sum[:])
}

func (s *service) joinToken(room, identity string) (string, error) {
	grant := &auth.VideoGrant{RoomJoin: true, Room: room}
	grant.SetCanPublish(true)
	grant.SetCanSubscribe(true)
	if s.updateOwnMetadata {
		grant.SetCanUpdateOwnMetadata(true)
	}
	return auth.NewAccessToken(s.key, s.secret).SetIdentity(identity).SetVideoGrant(grant).SetValidFor(time.Hour).ToJWT()
}

// createRoom asks the SFU, at the URL that clients get too, with http for ws.
func (s *service) createRoom(ctx context.Context, room string) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	token, err := auth.NewAccessToken(s.key, s.secret).SetVideoGrant(&auth.VideoGrant{RoomCreate: true}).SetValidFor(time.Minute).ToJWT()
	if err != nil {
		return err
	}
	base := s.url
	if strings.HasPrefix(base, "ws") {
		base = "http" + strings.TrimPrefix(base, "ws")
	}
	_, err = livekit.NewRoomServiceProtobufClient(base, bearer{s.client, token}).CreateRoom(ctx,
		&livekit.CreateRoomRequest{Name: room, EmptyTimeout: 300, DepartureTimeout: 20})
	return err
}

// bearer is a client that shows a token with each request.
type bearer struct {
	client *http.Client
	token  string
}

func (b bearer) Do(req *http.Request) (*http.Response, error) {
	req.Header.Set("Authorization", "Bearer "+b.token)
	return b.client.Do(req)
}

package livekit

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"time"
)

// Grant is what a token for LiveKit allows (livekit/protocol auth/grants.go,
// VideoGrant). What is left out is not allowed, except publishing and subscribing,
// which joining includes.
type Grant struct {
	Room         string `json:"room,omitempty"`
	RoomJoin     bool   `json:"roomJoin,omitempty"`
	RoomCreate   bool   `json:"roomCreate,omitempty"` // also to delete one
	RoomList     bool   `json:"roomList,omitempty"`
	CanPublish   bool   `json:"canPublish,omitempty"`
	CanSubscribe bool   `json:"canSubscribe,omitempty"`
	Agent        bool   `json:"agent,omitempty"`
}

// Token is a JWT, HS256, that grants identity something for ten minutes after
// now. It says nothing of when it begins, so that a laptop's clock may be ahead
// of the host's.
func (p Pair) Token(identity string, g Grant, now time.Time) string {
	claims, _ := json.Marshal(struct { // never fails: plain values
		Issuer  string `json:"iss"`
		Subject string `json:"sub,omitempty"`
		Expires int64  `json:"exp"`
		Video   Grant  `json:"video"`
	}{p.Key.Reveal(), identity, now.Add(10 * time.Minute).Unix(), g})
	encode := base64.RawURLEncoding.EncodeToString
	text := encode([]byte(`{"alg":"HS256","typ":"JWT"}`)) + "." + encode(claims)
	sign := hmac.New(sha256.New, []byte(p.Secret.Reveal()))
	sign.Write([]byte(text))
	return text + "." + encode(sign.Sum(nil))
}

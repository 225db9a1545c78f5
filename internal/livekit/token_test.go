package livekit

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/auth"
)

// LiveKit's own code takes a token of ours, and reads from it what was granted
// and no more.
func TestToken(t *testing.T) {
	p := makePair("APIkey", "0123456789012345678901234567890123456789")
	now := time.Now()
	v, err := auth.ParseAPIToken(p.Token("alice", Grant{Room: "r", RoomJoin: true}, now))
	if err != nil {
		t.Fatal(err)
	}
	claims, grants, err := v.Verify(p.Secret.Reveal())
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(&auth.VideoGrant{Room: "r", RoomJoin: true}, grants.Video); d != "" || v.APIKey() != "APIkey" || v.Identity() != "alice" {
		t.Errorf("key %q, identity %q, %s", v.APIKey(), v.Identity(), d)
	}
	if got := claims.ExpiresAt.Time; got.Before(now.Add(9*time.Minute)) || got.After(now.Add(10*time.Minute)) {
		t.Errorf("it ends at %s, made at %s", got, now)
	}
	if _, _, err := v.Verify("another secret"); err == nil {
		t.Error("another secret fits, too")
	}
}

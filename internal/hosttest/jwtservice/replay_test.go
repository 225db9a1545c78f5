package main

import (
	"bytes"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/livekit/protocol/auth"
)

const (
	secret    = "a-secret-of-this-test-that-is-long-enough"
	liveKit   = "wss://rtc.hs.test/livekit/sfu"
	aliceSays = "<a fresh OpenID token of @alice:hs.test>"
)

// recording is one line of testdata/http.jsonl: a request to the real service
// and what it answered.
type recording struct {
	Case    string
	Request struct {
		Method, Path string
		Headers      map[string]string
		Body         json.RawMessage
	}
	Response struct {
		Status  int
		Headers map[string]string
		Body    json.RawMessage
	}
}

// TestReplay starts the service in a world where its names exist, and wants of
// it what the real one answered.
func TestReplay(t *testing.T) {
	w := newWorld(t)
	base := w.start(t, map[string]string{
		"LIVEKIT_KEY": "devkey", "LIVEKIT_SECRET": secret, "LIVEKIT_URL": liveKit,
		"LIVEKIT_FULL_ACCESS_HOMESERVERS": "hs.test",
		// The recorded version always granted it, the one that is stood in for
		// only when told to.
		"LIVEKIT_CAN_UPDATE_OWN_METADATA": "true",
	})
	text, err := os.ReadFile("testdata/http.jsonl")
	if err != nil {
		t.Fatal(err)
	}
	d := json.NewDecoder(bytes.NewReader(text))
	for d.More() {
		var r recording
		if err := d.Decode(&r); err != nil {
			t.Fatal(err)
		}
		t.Run(r.Case, func(t *testing.T) {
			w.sfuDown.Store(strings.HasSuffix(r.Case, "SFU down"))
			w.replay(t, base, r)
		})
	}
	w.sfuDown.Store(false)
	if got, want := w.madeRooms(), []string{digest("!lab:hs.test", legacySlot), digest("!ü \"x\":hs.test", legacySlot)}; !sameSet(got, want) {
		t.Errorf("rooms that were made on the SFU: %q, want %q", got, want)
	}
}

func (w *world) replay(t *testing.T, base string, r recording) {
	body := string(r.Request.Body)
	var plain string
	if json.Unmarshal(r.Request.Body, &plain) == nil {
		body = plain
	}
	resp := w.request(t, r.Request.Method, base+r.Request.Path, strings.ReplaceAll(body, aliceSays, aliceToken), r.Request.Headers)
	got, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	if resp.StatusCode != r.Response.Status {
		t.Errorf("status %d, want %d\n%s", resp.StatusCode, r.Response.Status, got)
	}
	headers := map[string]string{}
	for name, values := range resp.Header {
		if name = strings.ToLower(name); strings.HasPrefix(name, "access-control-") || name == "content-type" || name == "location" {
			headers[name] = strings.Join(values, " and ")
		}
	}
	if diff := cmp.Diff(r.Response.Headers, headers); diff != "" {
		t.Errorf("headers (-recorded +got):\n%s", diff)
	}
	if json.Unmarshal(r.Response.Body, &plain) == nil {
		if plain != string(got) {
			t.Errorf("body %q, want %q", got, plain)
		}
		return
	}
	if diff := cmp.Diff(decode(t, r.Response.Body), decodeClaims(t, got)); diff != "" {
		t.Errorf("body (-recorded +got):\n%s", diff)
	}
}

func decode(t *testing.T, b []byte) map[string]any {
	t.Helper()
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatalf("%v: %s", err, b)
	}
	return m
}

// decodeClaims is an answer with its JWT verified and opened, as recordings have
// it.
func decodeClaims(t *testing.T, b []byte) map[string]any {
	t.Helper()
	m := decode(t, b)
	token, ok := m["jwt"].(string)
	if !ok {
		return m
	}
	v, err := auth.ParseAPIToken(token)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := v.Verify(secret); err != nil {
		t.Fatalf("LiveKit would refuse the token: %v", err)
	}
	claims := decodePayload(t, token)
	lifetime := claims["exp"].(float64) - float64(time.Now().Unix())
	if lifetime < 3590 || lifetime > 3600 {
		t.Errorf("the token is valid for %v s, want an hour", lifetime)
	}
	for _, when := range []string{"exp", "nbf", "iat"} {
		delete(claims, when)
	}
	m["jwt"] = map[string]any{"claims": claims, "lifetime_s": 3600.0}
	return m
}

// Who is not of the site gets a token, and no room is made for them.
func TestRemoteUser(t *testing.T) {
	w := newWorld(t)
	base := w.start(t, map[string]string{"LIVEKIT_KEY": "devkey", "LIVEKIT_SECRET": secret, "LIVEKIT_URL": liveKit, "LIVEKIT_FULL_ACCESS_HOMESERVERS": "other.test,third.test"})
	resp := w.request(t, http.MethodPost, base+"/sfu/get", `{"room":"!r:other.test","openid_token":{"access_token":"`+aliceToken+`","matrix_server_name":"hs.test"},"device_id":"D"}`, nil)
	if resp.StatusCode != http.StatusOK || len(w.madeRooms()) != 0 {
		t.Errorf("status %d, rooms %q; want a token and no room", resp.StatusCode, w.madeRooms())
	}
}

// A homeserver can only speak for its own users.
func TestForeignSubject(t *testing.T) {
	w := newWorld(t)
	base := w.start(t, map[string]string{"LIVEKIT_KEY": "devkey", "LIVEKIT_SECRET": secret, "LIVEKIT_URL": liveKit, "LIVEKIT_FULL_ACCESS_HOMESERVERS": "*"})
	resp := w.request(t, http.MethodPost, base+"/sfu/get", `{"room":"!r:hs.test","openid_token":{"access_token":"`+foreignToken+`","matrix_server_name":"hs.test"},"device_id":"D"}`, nil)
	if resp.StatusCode != http.StatusUnauthorized {
		t.Errorf("status %d, want 401", resp.StatusCode)
	}
}

func sameSet(a, b []string) bool {
	set := func(list []string) []string {
		m := map[string]bool{}
		for _, s := range list {
			m[s] = true
		}
		return slices.Sorted(maps.Keys(m))
	}
	return slices.Equal(set(a), set(b))
}

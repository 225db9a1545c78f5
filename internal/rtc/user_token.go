package rtc

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// member is who wants to join, as /get_token has it (lk-jwt-service, README).
func (u *userLook) member() map[string]string {
	return map[string]string{"id": "ecdeploy-verify", "claimed_user_id": u.user, "claimed_device_id": u.device}
}

func (u *userLook) sfuGet(ctx context.Context) result {
	return u.token(ctx, "/sfu/get", map[string]any{"room": u.room, "openid_token": u.openID, "device_id": u.device})
}

func (u *userLook) getToken(ctx context.Context) result {
	return u.token(ctx, "/get_token", map[string]any{"room_id": u.room, "slot_id": callSlot, "openid_token": u.openID, "member": u.member()})
}

// token asks the JWT service for a token at one of its two paths. Both make a room
// on LiveKit of the same name, which goes by itself when nobody is in it.
func (u *userLook) token(ctx context.Context, path string, body any) result {
	a, err := u.ask(ctx, u.auth, http.MethodPost, u.t.Auth.URL+path, false, body)
	if err != nil {
		return bad("jwt-refused", HostSide, "the JWT service did not answer: "+err.Error())
	}
	var v struct {
		URL string `json:"url"`
		JWT string `json:"jwt"`
	}
	switch {
	case a.status == http.StatusNotFound:
		return bad("path-not-routed", HostSide, a.String())
	case !a.into(&v) || v.JWT == "":
		return bad("jwt-refused", HostSide, a.String())
	}
	u.hide(v.JWT)
	if v.URL != u.t.SFU.WebSocket { // nobody is sent there with a token
		return bad("livekit-url", HostSide, "clients are sent to "+short(v.URL)+", not to "+u.t.SFU.WebSocket)
	}
	u.url, u.jwt = v.URL, v.JWT
	return good("a token, and " + v.URL)
}

// grants is what a token of the JWT service says (livekit/protocol, auth/grants.go).
type grants struct {
	Issuer  string `json:"iss"`
	Expires int64  `json:"exp"`
	Video   struct {
		Room         string `json:"room"`
		RoomJoin     bool   `json:"roomJoin"`
		CanPublish   *bool  `json:"canPublish"`
		CanSubscribe *bool  `json:"canSubscribe"`
		RoomCreate   bool   `json:"roomCreate"`
		RoomAdmin    bool   `json:"roomAdmin"`
	} `json:"video"`
}

// readJWT is the claims of a JWT that is signed with secret (RFC 7515, 7519). No
// error has a part of the token.
func readJWT(token string, secret host.Secret) (grants, error) {
	var g grants
	parts := strings.Split(token, ".")
	if len(parts) != 3 {
		return g, errors.New("it is no JWT")
	}
	var raw [3][]byte
	for i, p := range parts {
		b, err := base64.RawURLEncoding.DecodeString(p)
		if err != nil {
			return g, errors.New("it is no JWT: its base64 is wrong")
		}
		raw[i] = b
	}
	var head struct {
		Algorithm string `json:"alg"`
	}
	if json.Unmarshal(raw[0], &head) != nil || head.Algorithm != "HS256" {
		return g, fmt.Errorf("it is signed with %.20q, not HS256", host.Clean(head.Algorithm))
	}
	sum := hmac.New(sha256.New, []byte(secret.Reveal()))
	sum.Write([]byte(parts[0] + "." + parts[1]))
	if !hmac.Equal(sum.Sum(nil), raw[2]) {
		return g, errors.New("it is not signed with the site's LIVEKIT_SECRET")
	}
	if json.Unmarshal(raw[1], &g) != nil {
		return g, errors.New("its claims are no JSON of a token for LiveKit")
	}
	return g, nil
}

// claims checks that the token allows what a call needs. LiveKit takes a
// canPublish or canSubscribe that is left out as yes in a token to join.
func (u *userLook) claims(context.Context) result {
	if u.jwt == "" {
		return unseen("not looked at: the JWT service gave no token")
	}
	g, err := readJWT(u.jwt, u.t.Issues.Secret)
	if err != nil {
		return bad("claims", HostSide, err.Error())
	}
	allowed := func(b *bool) bool { return b == nil || *b }
	left := time.Unix(g.Expires, 0).Sub(u.now())
	var wrong []string
	for text, is := range map[string]bool{
		"it is of another key than the site's LIVEKIT_KEY": g.Issuer != u.t.Issues.Key.Reveal(),
		"it names no room":                                                       g.Video.Room == "",
		"it does not allow joining (roomJoin)":                                   !g.Video.RoomJoin,
		"it does not allow sending (canPublish)":                                 !allowed(g.Video.CanPublish),
		"it does not allow hearing (canSubscribe)":                               !allowed(g.Video.CanSubscribe),
		"it allows more than joining (roomCreate or roomAdmin)":                  g.Video.RoomCreate || g.Video.RoomAdmin,
		fmt.Sprintf("it is not good any more: %s ago", -left.Round(time.Second)): left <= 0,
	} {
		if is {
			wrong = append(wrong, text)
		}
	}
	if len(wrong) > 0 {
		slices.Sort(wrong)
		return bad("claims", HostSide, wrong...)
	}
	return good(fmt.Sprintf("good for another %s, for one room, to join, send and hear", left.Round(time.Minute)))
}

func (u *userLook) now() time.Time {
	if u.t.Now == nil {
		return time.Now()
	}
	return u.t.Now()
}

// joinCall joins as a client does, with what the JWT service gave.
func (u *userLook) joinCall(ctx context.Context) result {
	if u.join == nil {
		return unseen("nobody asked to join")
	}
	if err := u.join(ctx, u.url, u.jwt); err != nil {
		return bad("signalling-lost", HostSide, err.Error())
	}
	return good("joined at " + u.url)
}

// restricted checks whether somebody of another homeserver could start calls. Without
// a second homeserver that cannot be tried from end to end; what is seen is that the
// JWT service does ask the server which a token names, and for which servers its
// configuration lets it make rooms.
func (u *userLook) restricted(ctx context.Context) result {
	var token map[string]any
	if json.Unmarshal(u.openID, &token) != nil {
		return unseen("the OpenID token is no JSON object")
	}
	// No resolver knows it, so the token goes nowhere (RFC 6761, section 6.4).
	token["matrix_server_name"] = "ecdeploy-verify.invalid"
	a, err := u.ask(ctx, u.auth, http.MethodPost, u.t.Auth.URL+"/sfu/get", false, map[string]any{"room": u.room, "openid_token": token, "device_id": u.device})
	if err != nil {
		return unseen("the JWT service did not answer: " + err.Error())
	}
	switch {
	case a.status == http.StatusOK:
		return bad("not-restricted", HostSide, "the JWT service gives a token to who says to be of a server that does not exist")
	case a.code == "":
		return unseen("what answers is not the JWT service: " + a.String())
	}
	said := "who says to be of ecdeploy-verify.invalid gets " + a.String()
	r := u.fullAccess(ctx)
	r.evidence = append([]string{said}, r.evidence...)
	return r
}

// fullAccess looks at the running container: which servers' users may make rooms.
func (u *userLook) fullAccess(ctx context.Context) result {
	h := u.t.Hosts[u.t.Auth.Host]
	if h == nil {
		return unseen("there is no connection to the JWT service's host, so its configuration was not seen")
	}
	res, err := h.Query(ctx,
		host.Cmd{Argv: []string{"docker", "inspect", "--type", "container", "--format", "{{json .Config.Env}}", u.t.Auth.Container}, Timeout: requestTime})
	if err != nil {
		return unseen("its configuration was not seen: " + host.Said(err.Error(), 2))
	}
	var env []string
	if !res[0].OK() || json.Unmarshal(res[0].Stdout, &env) != nil {
		return unseen("its configuration was not seen: docker inspect " + u.t.Auth.Container + " says nothing of it")
	}
	return judgeAccess(env, u.t.Auth.FullAccess, u.t.Site.Name)
}

// judgeAccess compares the environment of the JWT service with the plan.
func judgeAccess(env, planned []string, site string) result {
	if len(planned) == 0 {
		planned = []string{site}
	}
	// Without it, the service does not start since 0.5.0, and lets everybody in before.
	const name = "LIVEKIT_FULL_ACCESS_HOMESERVERS"
	var have []string
	for _, line := range env {
		if v, ok := strings.CutPrefix(line, name+"="); ok {
			have = strings.FieldsFunc(v, func(r rune) bool { return r == ',' || r == ' ' })
		}
	}
	shown := short(name + "=" + strings.Join(have, ","))
	if len(have) == 0 {
		return bad("not-restricted", HostSide, "the container has no "+name)
	}
	for _, server := range have {
		if !slices.Contains(planned, server) {
			return bad("not-restricted", HostSide, shown+": "+short(server)+" is not in the plan's full_access")
		}
	}
	return good(shown)
}

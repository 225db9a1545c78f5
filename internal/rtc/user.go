package rtc

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// User is a Matrix user of the site whose access token the plan file gives.
type User struct {
	AccessToken host.Secret
}

// userTime bounds all that is done as a user but for joining.
const userTime = 60 * time.Second

// callSlot is the slot of a call in a room, whose room on LiveKit /sfu/get gives,
// too (MSC4143; lk-jwt-service, handler.go).
const callSlot = "m.call#ROOM"

// userLook goes the way of one user, each step with what the one before gave.
type userLook struct {
	t          Target
	base       string // of the client-server API, without a slash at its end
	homeserver *http.Client
	auth       *http.Client
	join       func(ctx context.Context, url, jwt string) error

	secrets []string // nothing that is told may hold one of these
	links   []Link
	user    string // Matrix ID
	device  string
	openID  json.RawMessage
	room    string // a Matrix room that is nowhere: the JWT service only makes a name of it
	url     string // of LiveKit, as the JWT service says
	jwt     string
}

// asUser looks at a site as a Matrix user does, with clients that reach the
// homeserver and the JWT service. base is where the client-server API
// is, and join joins a call with what the JWT service gave.
func (t Target) asUser(ctx context.Context, base string, homeserver, auth *http.Client, join func(ctx context.Context, url, jwt string) error) []Link {
	u := &userLook{t: t, base: base, homeserver: homeserver, auth: auth, join: join}
	return u.all(ctx)
}

func (u *userLook) all(ctx context.Context) []Link {
	ctx, cancel := context.WithTimeout(ctx, userTime)
	defer cancel()
	u.base = strings.TrimRight(u.base, "/")
	u.room = "!ecdeploy-verify-" + random(8) + ":" + u.t.Site.Name
	u.hide(u.t.User.AccessToken.Reveal())
	u.look(ctx, "user.whoami", "logging in as the user", "", u.whoami)
	u.look(ctx, "user.transports", "the list of transports as the user gets it", "user.whoami", u.transports)
	u.look(ctx, "user.openid", "the user's OpenID token", "user.whoami", u.openIDToken)
	u.look(ctx, "user.sfu-get", "a token of the JWT service (/sfu/get)", "user.openid", u.sfuGet)
	u.look(ctx, "user.get-token", "a token of the JWT service (/get_token)", "user.openid", u.getToken)
	u.look(ctx, "user.claims", "what that token allows", "", u.claims)
	u.look(ctx, "user.join", "joining a call with it", "user.claims", u.joinCall)
	u.look(ctx, "user.delayed-event", "a delayed event of the user", "user.whoami", u.delayedEvent)
	u.look(ctx, "user.restricted", "who may make rooms, as far as one homeserver can see", "user.openid", u.restricted)
	return u.links
}

// hide remembers what nothing that is told may hold.
func (u *userLook) hide(secret string) {
	if secret != "" {
		u.secrets = append(u.secrets, secret, url.QueryEscape(secret), url.PathEscape(secret))
	}
}

// look adds one link. needs is the link without which nothing is known of it.
func (u *userLook) look(ctx context.Context, id, name, needs string, do func(context.Context) result) {
	began := time.Now()
	var r result
	at := slices.IndexFunc(u.links, func(l Link) bool { return l.ID == needs })
	switch {
	case at >= 0 && (u.links[at].Status == Failed || u.links[at].Status == NotSeen):
		r = unseen("not looked at: " + u.links[at].Name + " comes first")
		r.after = needs
	case ctx.Err() != nil:
		r = unseen("there was no time left to look")
	default:
		r = do(ctx)
	}
	for i, line := range r.evidence {
		for _, s := range u.secrets {
			line = strings.ReplaceAll(line, s, "***")
		}
		r.evidence[i] = line
	}
	u.links = append(u.links, Link{
		ID:       id,
		Name:     name,
		Part:     AsUser,
		From:     laptop,
		Status:   r.status,
		Code:     r.code,
		Side:     r.side,
		After:    r.after,
		Took:     time.Since(began),
		Evidence: cleaned(u.t.redact(r.evidence)),
	})
}

// answer is one answer of the homeserver or the JWT service.
type answer struct {
	status int
	body   []byte
	errmsg string // Matrix errcode and error; "" where there is none
	code   string // Matrix errcode, or the one that MSC4140 puts next to it
}

// String never has the body, which may hold a token.
func (a answer) String() string {
	s := fmt.Sprintf("HTTP %d", a.status)
	if a.errmsg != "" {
		s += " " + a.errmsg
	}
	return s
}

// into reads the body of a good answer.
func (a answer) into(v any) bool {
	return a.status == http.StatusOK && json.Unmarshal(a.body, v) == nil
}

// ask sends one request. bearer is for the homeserver alone. An error is one of the
// way there, and has no token: neither is in a URL.
func (u *userLook) ask(ctx context.Context, client *http.Client, method, to string, bearer bool, body any) (answer, error) {
	header := map[string]string{}
	text := ""
	if body != nil {
		b, err := json.Marshal(body)
		if err != nil {
			return answer{}, fmt.Errorf("make request: %w", err)
		}
		text = string(b)
		header["Content-Type"] = "application/json"
	}
	if bearer {
		header["Authorization"] = "Bearer " + u.t.User.AccessToken.Reveal()
	}
	resp, b, err := request(ctx, client, method, to, header, text)
	if err != nil {
		return answer{}, err
	}
	a := answer{status: resp.StatusCode, body: b}
	var m struct {
		Code    string `json:"errcode"`
		Error   string `json:"error"`
		Delayed string `json:"org.matrix.msc4140.errcode"`
	}
	if a.status != http.StatusOK && json.Unmarshal(b, &m) == nil && m.Code != "" {
		a.errmsg, a.code = strings.TrimSpace(m.Code+" "+m.Delayed)+": "+short(m.Error), m.Code
		if m.Delayed != "" {
			a.code = m.Delayed
		}
	}
	return a, nil
}

// matrix asks the homeserver as the user. path is below /_matrix/client.
func (u *userLook) matrix(ctx context.Context, method, path string, body any) (answer, error) {
	return u.ask(ctx, u.homeserver, method, u.base+"/_matrix/client/"+path, true, body)
}

// whoami: what the token is refused with says nothing of the site. That the
// homeserver answers at all is another link.
func (u *userLook) whoami(ctx context.Context) result {
	a, err := u.matrix(ctx, http.MethodGet, "v3/account/whoami", nil)
	if err != nil {
		return unseen("the homeserver did not answer: " + err.Error())
	}
	var v struct {
		User   string `json:"user_id"`
		Device string `json:"device_id"`
	}
	switch {
	case a.status == http.StatusUnauthorized || a.status == http.StatusForbidden:
		return bad("token-refused", LaptopSide, a.String())
	case !a.into(&v) || v.User == "":
		return unseen("the homeserver does not say who the user is: " + a.String())
	case !strings.HasSuffix(v.User, ":"+u.t.Site.Name):
		return bad("token-refused", LaptopSide, v.User+" is no user of "+u.t.Site.Name)
	}
	u.user, u.device = v.User, v.Device
	if u.device == "" { // of an application service, or an administrator's token
		u.device = "ECDEPLOYVERIFY"
	}
	return good(v.User + " on the device " + v.Device)
}

// transports: MSC4143 names the list rtc_transports; an earlier text, transports.
func (u *userLook) transports(ctx context.Context) result {
	a, err := u.matrix(ctx, http.MethodGet, strings.TrimPrefix(pathTransports, "/_matrix/client/"), nil)
	if err != nil {
		return unseen("the homeserver did not answer: " + err.Error())
	}
	type transport struct {
		Type string `json:"type"`
		URL  string `json:"livekit_service_url"`
	}
	var v struct {
		Transports []transport `json:"rtc_transports"`
		Earlier    []transport `json:"transports"`
	}
	switch {
	case a.status == http.StatusNotFound:
		return bad("flag-off", HostSide, a.String())
	case !a.into(&v):
		return bad("synapse-path", HostSide, a.String())
	}
	var said []string
	for _, tr := range append(v.Transports, v.Earlier...) {
		if tr.Type == "livekit" && tr.URL == u.t.Auth.URL {
			return good(tr.URL)
		}
		said = append(said, short(tr.Type+" "+tr.URL))
	}
	if len(said) == 0 {
		return bad("transports-empty", HostSide, "the list is empty")
	}
	return bad("transports-url", HostSide, append([]string{"wanted: livekit " + u.t.Auth.URL}, said...)...)
}

// openIDToken asks for the token that tells the JWT service who the user is
// (Client-Server API, "OpenID").
func (u *userLook) openIDToken(ctx context.Context) result {
	a, err := u.matrix(ctx, http.MethodPost, "v3/user/"+url.PathEscape(u.user)+"/openid/request_token", struct{}{})
	if err != nil {
		return bad("openid-token", HostSide, err.Error())
	}
	var v struct {
		Token  string `json:"access_token"`
		Server string `json:"matrix_server_name"`
	}
	if !a.into(&v) || v.Token == "" {
		return bad("openid-token", HostSide, a.String())
	}
	u.hide(v.Token)
	u.openID = a.body
	if v.Server != u.t.Site.Name {
		return bad("openid-token", HostSide, fmt.Sprintf("the token is one of %q", short(v.Server)))
	}
	return good("a token of " + v.Server)
}

package rtc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

const (
	testAccess = "syt_access_token_of_alice"
	testOpenID = "openid_token_of_alice"
	testSecret = "secret-of-livekit-secret-of-livekit"
)

// backend is a homeserver and a JWT service as far as a user meets them. Paths in
// other are answered otherwise.
type backend struct {
	mu    sync.Mutex
	other map[string]string // "METHOD path": "STATUS body"
	seen  []string
	jwt   string
	url   string
}

func (b *backend) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	b.mu.Lock()
	defer b.mu.Unlock()
	what := r.Method + " " + r.URL.Path
	if i := strings.Index(what, "/send/"); i > 0 {
		what = what[:i] + "/send"
	}
	b.seen = append(b.seen, what)
	if strings.HasPrefix(r.URL.Path, "/_matrix") != (r.Header.Get("Authorization") == "Bearer "+testAccess) {
		http.Error(w, `{"errcode":"M_MISSING_TOKEN","error":"`+r.Header.Get("Authorization")+`"}`, http.StatusUnauthorized)
		return
	}
	if o, ok := b.other[what]; ok {
		var status int
		fmt.Sscan(o, &status)
		w.WriteHeader(status)
		fmt.Fprint(w, o[4:])
		return
	}
	token := fmt.Sprintf(`{"url":%q,"jwt":%q}`, b.url, b.jwt)
	text, ok := map[string]string{
		"GET /_matrix/client/v3/account/whoami":                                     `{"user_id":"@alice:hs.test","device_id":"PHONE"}`,
		"GET " + pathTransports:                                                     `{"rtc_transports":[{"type":"other"},{"type":"livekit","livekit_service_url":"http://` + r.Host + `/jwt"}]}`,
		"POST /_matrix/client/v3/user/@alice:hs.test/openid/request_token":          `{"access_token":"` + testOpenID + `","token_type":"Bearer","matrix_server_name":"hs.test","expires_in":3600}`,
		"POST /jwt/sfu/get":                                                         token,
		"POST /jwt/get_token":                                                       token,
		"POST /_matrix/client/v3/createRoom":                                        `{"room_id":"!made:hs.test"}`,
		"PUT /_matrix/client/v3/rooms/!made:hs.test/send":                           `{"delay_id":"d1"}`,
		"POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/d1":        `{}`,
		"POST /_matrix/client/v3/rooms/!made:hs.test/leave":                         `{}`,
		"POST /_matrix/client/v3/rooms/!made:hs.test/forget":                        `{}`,
		"POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/d1/cancel": `{}`,
	}[what]
	if what == "POST /jwt/sfu/get" && strings.Contains(string(body), "ecdeploy-verify.invalid") {
		w.WriteHeader(401)
		text = `{"errcode":"M_UNAUTHORIZED","error":"The request could not be authorised."}`
	}
	if !ok {
		w.WriteHeader(404)
		text = `{"errcode":"M_UNRECOGNIZED","error":"Unrecognized request"}`
	}
	fmt.Fprint(w, text)
}

// containerHost is a host that knows one container's environment.
type containerHost struct {
	host.Host
	env []string
}

func (h containerHost) Name() string { return "one" }
func (h containerHost) Query(context.Context, ...host.Cmd) ([]host.Result, error) {
	b, err := json.Marshal(h.env)
	return []host.Result{{Stdout: b}}, err
}

// verifyAsAlice looks at a backend as its user.
func verifyAsAlice(t *testing.T, b *backend, env []string, join func(context.Context, string, string) error) map[string]Link {
	t.Helper()
	server := httptest.NewServer(b)
	defer server.Close()
	now := time.Now()
	keys := livekit.Pair{Key: host.NewSecret("devkey"), Secret: host.NewSecret(testSecret)}
	if b.jwt == "" {
		b.jwt = keys.Token("alice", livekit.Grant{Room: "r", RoomJoin: true, CanPublish: true, CanSubscribe: true}, now)
	}
	if b.url == "" {
		b.url = "wss://sfu.hs.test"
	}
	target := Target{
		Site: &steps.Site{Name: "hs.test"}, SFU: Service{URL: "https://sfu.hs.test", WebSocket: "wss://sfu.hs.test"},
		Auth:   Service{Host: "one", URL: server.URL + "/jwt", FullAccess: []string{"hs.test"}},
		Hosts:  map[string]host.Host{"one": containerHost{env: env}},
		Issues: keys, Now: func() time.Time { return now }, User: &User{AccessToken: host.NewSecret(testAccess)},
	}
	links := target.asUser(t.Context(), server.URL+"/", target.client(here(), target.Roots), target.client(here(), target.Roots), join)
	byID := map[string]Link{}
	for _, l := range links {
		byID[l.ID] = l
		text := strings.Join(l.Evidence, "\n")
		for _, secret := range []string{testAccess, testOpenID, testSecret, b.jwt} {
			if strings.Contains(text, secret) {
				t.Errorf("%s tells a secret:\n%s", l.ID, text)
			}
		}
		if _, ok := explanation(l.Code); l.Code != "" && !ok {
			t.Errorf("%s: nobody explains %s", l.ID, l.Code)
		}
		if l.Part != AsUser || l.Name == "" || (l.Status == Failed) != (l.Side != "") {
			t.Errorf("%+v", l)
		}
	}
	if len(links) != 9 {
		t.Errorf("%d links", len(links))
	}
	return byID
}

var goodEnv = []string{"PATH=/", "LIVEKIT_FULL_ACCESS_HOMESERVERS=hs.test"}

func TestAsUser(t *testing.T) {
	b := &backend{}
	joined := ""
	links := verifyAsAlice(t, b, goodEnv, func(_ context.Context, url, jwt string) error { joined = url + " " + jwt; return nil })
	for id, l := range links {
		if l.Status != OK {
			t.Errorf("%s: %+v", id, l)
		}
	}
	if joined != b.url+" "+b.jwt {
		t.Errorf("joined %q", joined)
	}
	for _, want := range []string{"leave", "forget"} {
		if !slices.Contains(b.seen, "POST /_matrix/client/v3/rooms/!made:hs.test/"+want) {
			t.Errorf("the room is still there: no %s", want)
		}
	}
}

func TestAsUserBroken(t *testing.T) {
	const (
		whoami     = "GET /_matrix/client/v3/account/whoami"
		transports = "GET " + pathTransports
		openID     = "POST /_matrix/client/v3/user/@alice:hs.test/openid/request_token"
		send       = "PUT /_matrix/client/v3/rooms/!made:hs.test/send"
		cancel     = "POST /_matrix/client/unstable/org.matrix.msc4140/delayed_events/d1"
		leave      = "POST /_matrix/client/v3/rooms/!made:hs.test/leave"
	)
	for name, tt := range map[string]struct {
		what, answer string
		id           string
		status       Status
		code         Code
		words        string
	}{
		"token":              {whoami, `401 {"errcode":"M_UNKNOWN_TOKEN","error":"` + testAccess + `"}`, "user.whoami", Failed, "token-refused", "M_UNKNOWN_TOKEN"},
		"homeserver is gone": {whoami, `502 <html>`, "user.whoami", NotSeen, "", "HTTP 502"},
		"another server":     {whoami, `200 {"user_id":"@alice:else.test"}`, "user.whoami", Failed, "token-refused", "no user of hs.test"},
		"empty":              {transports, `200 {}`, "user.transports", Failed, "transports-empty", ""},
		"earlier key":        {transports, `200 {"transports":[{"type":"livekit","livekit_service_url":"https://other"}]}`, "user.transports", Failed, "transports-url", "https://other"},
		"flag":               {transports, `404 {"errcode":"M_UNRECOGNIZED"}`, "user.transports", Failed, "flag-off", ""},
		"no JSON":            {transports, `200 <html>`, "user.transports", Failed, "synapse-path", ""},
		"openid":             {openID, `403 {"errcode":"M_FORBIDDEN","error":"no"}`, "user.openid", Failed, "openid-token", "M_FORBIDDEN"},
		"sfu-get":            {"POST /jwt/sfu/get", `500 {"errcode":"M_UNKNOWN","error":"Unable to create room on SFU ` + testOpenID + `"}`, "user.sfu-get", Failed, "jwt-refused", "Unable to create room"},
		"get-token":          {"POST /jwt/get_token", `404 404 page not found`, "user.get-token", Failed, "path-not-routed", "404"},
		"url":                {"POST /jwt/get_token", `200 {"url":"wss://other","jwt":"a.b.c"}`, "user.get-token", Failed, "livekit-url", "wss://other"},
		"claims":             {"POST /jwt/get_token", `200 {"url":"wss://sfu.hs.test","jwt":"a.b.c"}`, "user.claims", Failed, "claims", ""},
		"delayed off":        {send, `400 {"errcode":"M_UNKNOWN","error":"no","org.matrix.msc4140.errcode":"M_MAX_DELAY_UNSUPPORTED"}`, "user.delayed-event", Failed, "delayed-events-off", "M_MAX_DELAY_UNSUPPORTED"},
		"delayed forbidden":  {send, `403 {"errcode":"M_FORBIDDEN","error":"Sending delayed events has been disallowed"}`, "user.delayed-event", Failed, "delayed-events-off", "disallowed"},
		"sent at once":       {send, `200 {"event_id":"$e"}`, "user.delayed-event", Failed, "delayed-events-off", ""},
		"limited":            {send, `429 {"errcode":"M_LIMIT_EXCEEDED","error":"no"}`, "user.delayed-event", Failed, "rate-limits", ""},
		"no cancel":          {cancel, `500 {"errcode":"M_UNKNOWN","error":"no"}`, "user.delayed-event", Failed, "delayed-event", "cancelled"},
		"newer cancel":       {cancel, `404 {"errcode":"M_UNRECOGNIZED"}`, "user.delayed-event", OK, "", ""},
		"room stays":         {leave, `500 oops`, "user.delayed-event", Warning, "", "was not taken away"},
		"anybody":            {"POST /jwt/sfu/get", `200 {"url":"wss://sfu.hs.test","jwt":"a.b.c"}`, "user.restricted", Failed, "not-restricted", ""},
		"proxy is gone":      {"POST /jwt/sfu/get", `502 bad`, "user.restricted", NotSeen, "", ""},
	} {
		t.Run(name, func(t *testing.T) {
			l := verifyAsAlice(t, &backend{other: map[string]string{tt.what: tt.answer}}, goodEnv, func(context.Context, string, string) error { return nil })[tt.id]
			if l.Status != tt.status || l.Code != tt.code || !strings.Contains(strings.Join(l.Evidence, "\n"), tt.words) {
				t.Errorf("%+v, want %s %s %q", l, tt.status, tt.code, tt.words)
			}
		})
	}
}

func TestAsUserJoinAndAccess(t *testing.T) {
	b := &backend{}
	links := verifyAsAlice(t, b, []string{"LIVEKIT_FULL_ACCESS_HOMESERVERS=hs.test,*"}, func(_ context.Context, _, jwt string) error {
		return errors.New("dial wss://sfu.hs.test/rtc?access_token=" + jwt)
	})
	if l := links["user.join"]; l.Status != Failed || !strings.Contains(l.Evidence[0], "***") {
		t.Errorf("%+v", l)
	}
	if l := links["user.restricted"]; l.Status != Failed || l.Code != "not-restricted" {
		t.Errorf("%+v", l)
	}
	for _, tt := range []struct {
		have    string
		planned []string
		want    Status
	}{{"hs.test", nil, OK}, {"*", []string{"*"}, OK}, {"*", nil, Failed}, {"a.test,hs.test", []string{"hs.test", "a.test"}, OK}, {"a.test,hs.test", nil, Failed}, {"", nil, Failed}} {
		if got := judgeAccess([]string{"LIVEKIT_FULL_ACCESS_HOMESERVERS=" + tt.have}, tt.planned, "hs.test"); got.status != tt.want {
			t.Errorf("%+v: %+v", tt, got)
		}
	}
}

func TestReadJWT(t *testing.T) {
	keys := livekit.Pair{Key: host.NewSecret("k"), Secret: host.NewSecret(testSecret)}
	whole := keys.Token("alice", livekit.Grant{Room: "r", RoomJoin: true}, time.Unix(1000, 0))
	g, err := readJWT(whole, keys.Secret)
	if err != nil || g.Issuer != "k" || g.Expires != 1600 || !g.Video.RoomJoin || g.Video.Room != "r" {
		t.Errorf("%+v, %v", g, err)
	}
	p := strings.Split(whole, ".")
	for _, bad := range []string{"", "a.b", "!.!.!", p[0] + "." + p[1] + ".", p[0] + "." + p[0] + "." + p[2], "eyJhbGciOiJub25lIn0." + p[1] + ".", p[0] + "." + p[1] + "." + p[2] + ".x"} {
		if g, err := readJWT(bad, keys.Secret); err == nil {
			t.Errorf("%q: %+v", bad, g)
		}
	}
	if _, err := readJWT(whole, host.NewSecret("another")); err == nil || strings.Contains(err.Error(), p[1]) {
		t.Error(err)
	}
}

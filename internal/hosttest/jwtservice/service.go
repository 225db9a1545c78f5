package main

import (
	"context"
	"encoding/json"
	"net/http"
	"slices"
	"strings"
	"time"
)

// legacySlot is the slot of a call as /sfu/get means it.
const legacySlot = "m.call#ROOM"

type service struct {
	config
	log    logger
	client *http.Client
}

func newService(c config, log logger) *service {
	return &service{config: c, log: log, client: newClient(c.skipVerify)}
}

func (s *service) routes() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/healthz", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodGet && r.Method != http.MethodHead {
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	})
	mux.HandleFunc("/sfu/get", forClients(s.legacy))
	mux.HandleFunc("/get_token", forClients(s.getToken))
	mux.HandleFunc("/delegate_delayed_leave", forClients(s.delayedLeave))
	mux.HandleFunc("/sfu_webhook", func(w http.ResponseWriter, r *http.Request) {
		if r.Method != http.MethodPost {
			w.WriteHeader(http.StatusMethodNotAllowed)
		}
	})
	return mux
}

// failure is an error in Matrix's form.
type failure struct {
	status  int
	Code    string `json:"errcode"`
	Message string `json:"error"`
}

func (f *failure) Error() string { return f.Code + ": " + f.Message }

func badJSON(message string) error { return &failure{http.StatusBadRequest, "M_BAD_JSON", message} }

var (
	errNotJSON      = &failure{http.StatusBadRequest, "M_NOT_JSON", "Error reading request"}
	errUnauthorized = &failure{http.StatusUnauthorized, "M_UNAUTHORIZED", "The request could not be authorised."}
	errForbidden    = &failure{http.StatusForbidden, "M_FORBIDDEN", "The delegation of delayed events is only supported for full access users"}
	errNoRoom       = &failure{http.StatusInternalServerError, "M_UNKNOWN", "Unable to create room on SFU"}
)

// forClients is what the three routes for clients share: CORS, the method, a
// JSON body of exactly the fields of Request, and a JSON answer.
func forClients[Request any](answer func(context.Context, Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		h := w.Header()
		h.Set("Content-Type", "application/json")
		h.Set("Access-Control-Allow-Origin", "*")
		h.Set("Access-Control-Allow-Methods", "POST")
		h.Set("Access-Control-Allow-Headers", "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token")
		switch r.Method {
		case http.MethodOptions:
			return
		case http.MethodPost:
		default:
			w.WriteHeader(http.StatusMethodNotAllowed)
			return
		}
		var request Request
		d := json.NewDecoder(http.MaxBytesReader(w, r.Body, 1<<20))
		d.DisallowUnknownFields()
		var body any
		var err error = errNotJSON
		if d.Decode(&request) == nil {
			body, err = answer(r.Context(), request)
		}
		if f, ok := err.(*failure); ok {
			w.WriteHeader(f.status)
			body = f
		}
		_ = json.NewEncoder(w).Encode(body)
	}
}

// openIDToken is what a client got of its homeserver's request_token.
type openIDToken struct {
	AccessToken string `json:"access_token"`
	TokenType   string `json:"token_type"`
	ServerName  string `json:"matrix_server_name"`
	ExpiresIn   int    `json:"expires_in"` // seconds
}

func (t openIDToken) complete() bool { return t.AccessToken != "" && t.ServerName != "" }

type delay struct {
	ID      string `json:"delay_id"`
	Timeout int    `json:"delay_timeout"` // milliseconds
	BaseURL string `json:"delay_cs_api_url"`
}

type legacyRequest struct {
	Room   string      `json:"room"`
	Token  openIDToken `json:"openid_token"`
	Device string      `json:"device_id"`
	delay
}

type member struct {
	ID     string `json:"id"`
	User   string `json:"claimed_user_id"`
	Device string `json:"claimed_device_id"`
}

type request struct {
	Room   string      `json:"room_id"`
	Slot   string      `json:"slot_id"`
	Token  openIDToken `json:"openid_token"`
	Member member      `json:"member"`
}

type delayRequest struct {
	request
	delay
}

func (r request) check() error {
	switch {
	case r.Room == "" || r.Slot == "":
		return badJSON("The request body is missing `room_id` or `slot_id`")
	case r.Member.ID == "" || r.Member.User == "" || r.Member.Device == "":
		return badJSON("The request body `member` is missing a `id`, `claimed_user_id` or `claimed_device_id`")
	case !r.Token.complete():
		return badJSON("The request body `openid_token` is missing a `access_token` or `matrix_server_name`")
	}
	return nil
}

type joinAnswer struct {
	URL string `json:"url"`
	JWT string `json:"jwt"`
}

func (s *service) legacy(ctx context.Context, r legacyRequest) (any, error) {
	switch {
	case r.Room == "":
		return nil, badJSON("Missing room parameter")
	case !r.Token.complete():
		return nil, badJSON("Missing OpenID token parameters")
	}
	user, err := s.authorize(ctx, r.Token, "")
	if err != nil {
		return nil, err
	}
	return s.join(ctx, r.Token.ServerName, digest(r.Room, legacySlot), user+":"+r.Device)
}

func (s *service) getToken(ctx context.Context, r request) (any, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if _, err := s.authorize(ctx, r.Token, r.Member.User); err != nil {
		return nil, err
	}
	return s.join(ctx, r.Token.ServerName, digest(r.Room, r.Slot), digest(r.Member.User, r.Member.Device, r.Member.ID))
}

func (s *service) delayedLeave(ctx context.Context, r delayRequest) (any, error) {
	if err := r.check(); err != nil {
		return nil, err
	}
	if r.ID == "" || r.Timeout <= 0 {
		return nil, badJSON("The request body is missing `delay_id` or `delay_timeout`")
	}
	if _, err := s.authorize(ctx, r.Token, r.Member.User); err != nil {
		return nil, err
	}
	if !s.hasFullAccess(r.Token.ServerName) {
		return nil, errForbidden
	}
	return struct{}{}, nil
}

// authorize returns the Matrix user whom an OpenID token is of. Who claims to be
// somebody else is refused, like one whose homeserver cannot be asked: from
// outside the two look the same.
func (s *service) authorize(ctx context.Context, t openIDToken, claimed string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	user, err := userInfo(ctx, s.client, t.ServerName, t.AccessToken)
	if err != nil {
		s.log.warn("OpenIDUserInfo: Failed to look up user info err=%v", err)
		return "", errUnauthorized
	}
	if claimed != "" && claimed != user {
		s.log.warn("claimed_user_id=%s is not the token's user %s", claimed, user)
		return "", errUnauthorized
	}
	return user, nil
}

func (s *service) hasFullAccess(server string) bool {
	return slices.Equal(s.fullAccess, []string{"*"}) || slices.Contains(s.fullAccess, server)
}

// join makes the room for users of the site itself; others can only join one
// that is there already.
func (s *service) join(ctx context.Context, server, room, identity string) (any, error) {
	token, err := s.joinToken(room, identity)
	if err != nil {
		return nil, err
	}
	if s.hasFullAccess(server) {
		if err := s.createRoom(ctx, room); err != nil {
			s.log.warn("Unable to create room %s on SFU %s err=%s", room, s.url, strings.ReplaceAll(err.Error(), s.secret, "***"))
			return nil, errNoRoom
		}
	}
	return joinAnswer{URL: s.url, JWT: token}, nil
}

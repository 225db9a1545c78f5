package callprobe

import (
	"crypto/x509"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

func TestToken(t *testing.T) {
	type answers struct{ openID, getToken, sfuGet int } // HTTP status
	for _, tt := range []struct {
		name    string
		answers answers
		want    string // JWT
		err     string
	}{
		{"new way", answers{200, 200, 404}, "by /get_token", ""},
		{"old way", answers{200, 404, 200}, "by /sfu/get", ""},
		{"not logged in", answers{401, 200, 200}, "", "OpenID token: HTTP status 401, M_OF_TEST: why"},
		{"refused", answers{200, 401, 200}, "", "HTTP status 401, M_OF_TEST: why"},
		{"wrong path", answers{200, 404, 404}, "", "gives no token: HTTP status 404"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mux := http.NewServeMux()
			answer := func(path string, status int, body string) {
				mux.HandleFunc("POST "+path, func(w http.ResponseWriter, r *http.Request) {
					w.WriteHeader(status)
					switch status {
					case http.StatusOK:
						var sent map[string]any
						if err := json.NewDecoder(r.Body).Decode(&sent); err != nil {
							t.Error(err)
						}
						if token, ok := sent["openid_token"].(map[string]any); ok && token["access_token"] != "opaque" {
							t.Errorf("%s got %v", path, sent)
						}
						fmt.Fprint(w, body)
					case http.StatusUnauthorized:
						fmt.Fprint(w, `{"errcode":"M_OF_TEST","error":"why"}`)
					default:
						fmt.Fprint(w, "404 page not found")
					}
				})
			}
			answer("/_matrix/client/v3/user/@alice:hs.test/openid/request_token",
				tt.answers.openID,
				`{"access_token":"opaque","token_type":"Bearer","matrix_server_name":"hs.test","expires_in":3600}`)
			answer("/jwt/get_token", tt.answers.getToken, `{"url":"wss://sfu","jwt":"by /get_token"}`)
			answer("/jwt/sfu/get", tt.answers.sfuGet, `{"url":"wss://sfu","jwt":"by /sfu/get"}`)
			server := httptest.NewTLSServer(mux)
			defer server.Close()
			roots := x509.NewCertPool()
			roots.AddCert(server.Certificate())
			_, port, _ := net.SplitHostPort(server.Listener.Addr().String())
			base := "https://example.com:" + port

			m := Matrix{Homeserver: base, ServerName: "hs.test", User: "alice", AccessToken: "syt", Roots: roots, Hosts: map[string]string{"example.com": "127.0.0.1"}}
			got, err := m.Token(t.Context(), base+"/jwt", "!room:hs.test")
			if tt.err != "" {
				if err == nil || !strings.Contains(err.Error(), tt.err) {
					t.Errorf("%v, want %s", err, tt.err)
				}
				return
			}
			if err != nil || got != (Token{URL: "wss://sfu", JWT: tt.want}) {
				t.Errorf("%+v, %v", got, err)
			}
		})
	}
}

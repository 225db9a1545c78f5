package engine

import (
	"context"
	"crypto/x509"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// reachable is a host of which only the way to its services matters.
type reachable struct{ host.Host }

func (reachable) Name() string { return "h" }

func (reachable) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	return (&net.Dialer{}).DialContext(ctx, network, addr)
}

// Every way in which a deployment can look right and be wrong must fail a check.
func TestHTTPChecks(t *testing.T) {
	const announced = `{"m.homeserver": {}, "org.matrix.msc4143.rtc_foci": [{"type": "livekit", "livekit_service_url": "https://jwt.example.org"}]}`
	wellKnown := steps.HTTPCheck{Status: 200, OneHeader: "Access-Control-Allow-Origin", LiveKitURL: "https://jwt.example.org"}
	flags := steps.HTTPCheck{Status: 200, JSONTrue: []string{"org.matrix.msc4140"}}
	for _, c := range []struct {
		name   string
		check  steps.HTTPCheck
		status int
		header [][2]string
		body   string
		fails  string // "" where the check must succeed
	}{
		{"as it should be", wellKnown, 200, [][2]string{{"Access-Control-Allow-Origin", "*"}, {"Content-Type", "application/json"}}, announced, ""},
		{"no CORS header", wellKnown, 200, [][2]string{{"Content-Type", "application/json"}}, announced, "Access-Control-Allow-Origin"},
		{
			name:   "two CORS headers",
			check:  wellKnown,
			status: 200,
			header: [][2]string{{"Access-Control-Allow-Origin", "*"}, {"Access-Control-Allow-Origin", "*"}, {"Content-Type", "application/json"}},
			body:   announced,
			fails:  "exactly one",
		},
		{
			name:   "not as JSON",
			check:  wellKnown,
			status: 200,
			header: [][2]string{{"Access-Control-Allow-Origin", "*"}, {"Content-Type", "application/octet-stream"}},
			body:   announced,
			fails:  "application/octet-stream",
		},
		{
			name:   "another URL",
			check:  wellKnown,
			status: 200,
			header: [][2]string{{"Access-Control-Allow-Origin", "*"}, {"Content-Type", "application/json"}},
			body:   strings.Replace(announced, "jwt.example.org", "jwt.example.org/", 1),
			fails:  "does not announce",
		},
		{"cut", wellKnown, 200, [][2]string{{"Access-Control-Allow-Origin", "*"}, {"Content-Type", "application/json"}}, announced[:40], "no JSON"},
		{"a redirect", wellKnown, 302, [][2]string{{"Location", "/"}}, "", "302"},
		{"flag on", flags, 200, nil, `{"unstable_features": {"org.matrix.msc4140": true}}`, ""},
		{"flag off", flags, 200, nil, `{"unstable_features": {"org.matrix.msc4140": false}}`, "off"},
		{"flag unknown", flags, 200, nil, `{"versions": []}`, "off"},
		{"body", steps.HTTPCheck{Status: 405, Body: "not allowed"}, 405, nil, "method not allowed", ""},
		{"another body", steps.HTTPCheck{Status: 405, Body: "not allowed"}, 405, nil, "somebody else's", "not allowed"},
	} {
		t.Run(c.name, func(t *testing.T) {
			srv := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				for _, h := range c.header {
					w.Header().Add(h[0], h[1])
				}
				w.WriteHeader(c.status)
				_, _ = w.Write([]byte(c.body))
			}))
			defer srv.Close()
			roots := x509.NewCertPool()
			roots.AddCert(srv.Certificate())
			c.check.URL, c.check.Dial = "https://example.com/x", srv.Listener.Addr().String()
			got := Checker{Roots: roots}.Once(t.Context(), reachable{}, steps.Check{Name: "it", HTTP: &c.check, Timeout: 5 * time.Second})
			if c.fails == "" && got.Err != "" || !strings.Contains(got.Err, c.fails) {
				t.Errorf("got %q, want %q", got.Err, c.fails)
			}
			if got := (Checker{}).Once(t.Context(),
				reachable{},
				steps.Check{Name: "it", HTTP: &c.check, Timeout: 5 * time.Second}); !strings.Contains(got.Err, "ca_file") {
				t.Errorf("a certificate that nobody trusts: %q", got.Err)
			}
		})
	}
}

// A check waits for what is still coming up, and no longer than it may.
func TestCheckWaits(t *testing.T) {
	var asked atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if asked.Add(1) < 3 {
			w.WriteHeader(http.StatusBadGateway)
		}
	}))
	defer srv.Close()
	check := steps.Check{Name: "it answers", HTTP: &steps.HTTPCheck{URL: srv.URL, Status: 200}, Timeout: 30 * time.Second, Hint: "look there"}
	var events []Event
	if err := (Checker{}).Run(t.Context(), reachable{}, check, func(e Event) { events = append(events, e) }); err != nil || asked.Load() != 3 {
		t.Errorf("asked %d times: %v", asked.Load(), err)
	}
	if len(events) != 2 {
		t.Errorf("%d events, want that it waits and that it succeeded", len(events))
	}
	check.HTTP.Status, check.Timeout = 204, 100*time.Millisecond
	err := Checker{}.Run(t.Context(), reachable{}, check, func(Event) {})
	if err == nil || !strings.Contains(err.Error(), "answers 200, not 204") || !strings.Contains(err.Error(), "hint: look there") {
		t.Errorf("got %v", err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := (Checker{}).Run(ctx, reachable{}, check, func(Event) {}); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}

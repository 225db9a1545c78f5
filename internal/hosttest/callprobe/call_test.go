package callprobe

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/livekit/protocol/auth"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const secret = "a-secret-of-this-test-that-is-long-enough"

// TestCall needs a real LiveKit: ECDEPLOY_LIVEKIT is the path of its server.
func TestCall(t *testing.T) {
	base, roots := startLiveKit(t, true)
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			r, err := Call(ctx, config(t, base, roots, network))
			if err != nil {
				t.Fatal(err)
			}
			if r.Packets < 25 || strings.Count(r.Pair, " "+network+" ") != 2 {
				t.Errorf("%+v", r)
			}
			t.Logf("%+v", r)
		})
	}
	t.Run("wrong token", func(t *testing.T) {
		c := config(t, base, roots, "udp")
		c.Subscriber = c.Subscriber[:len(c.Subscriber)-4] + "AAAA"
		_, err := Call(t.Context(), c)
		if err == nil || !strings.Contains(err.Error(), "401") || strings.Contains(err.Error(), c.Subscriber) {
			t.Error(err)
		}
	})
	t.Run("no trust", func(t *testing.T) {
		if _, err := Call(t.Context(), config(t, base, x509.NewCertPool(), "udp")); err == nil {
			t.Error("a certificate of nobody that is trusted was taken")
		}
	})
}

// Where the SFU offers no way of one kind, the call fails and says how far it
// came; nothing of the other kind is used instead.
func TestCallWithoutTCP(t *testing.T) {
	base, roots := startLiveKit(t, false)
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	r, err := Call(ctx, config(t, base, roots, "tcp"))
	if err == nil || r.Packets != 0 {
		t.Errorf("%+v, %v", r, err)
	}
	t.Log(err)
}

func config(t *testing.T, base string, roots *x509.CertPool, network string) Config {
	t.Helper()
	token := func(identity string) string {
		jwt, err := auth.NewAccessToken("key", secret).SetIdentity(identity).SetVideoGrant(&auth.VideoGrant{RoomJoin: true, Room: "room"}).SetValidFor(time.Hour).ToJWT()
		if err != nil {
			t.Fatal(err)
		}
		return jwt
	}
	return Config{URL: base, Publisher: token("@alice:hs.test:A"), Subscriber: token("@bob:hs.test:B"), Network: network, Packets: 25, Roots: roots,
		Hosts: map[string]string{"example.com": "127.0.0.1"}}
}

// startLiveKit runs it on loopback with a proxy before it that speaks TLS under
// a name that only Config.Hosts knows, and takes a prefix off.
func startLiveKit(t *testing.T, tcp bool) (base string, roots *x509.CertPool) {
	t.Helper()
	bin := os.Getenv("ECDEPLOY_LIVEKIT")
	if bin == "" {
		t.Skip("needs ECDEPLOY_LIVEKIT=PATH of a livekit-server")
	}
	port, media := freePort(t), 0
	if tcp {
		media = freePort(t)
	}
	path := filepath.Join(t.TempDir(), "livekit.yaml")
	text := fmt.Sprintf(`port: %d
bind_addresses: [127.0.0.1]
rtc: {tcp_port: %d, port_range_start: 45100, port_range_end: 45140, use_external_ip: false, node_ip: 127.0.0.1, enable_loopback_candidate: true, interfaces: {includes: [lo]}}
keys: {key: %s}
`, port, media, secret)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	log := &strings.Builder{}
	cmd := exec.Command(bin, "--config", path)
	cmd.Stdout, cmd.Stderr = log, log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		_ = cmd.Process.Signal(syscall.SIGTERM) // it waits for nobody
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log)
		}
	})
	to := &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}
	transport := &http.Transport{DisableKeepAlives: true}
	server := httptest.NewTLSServer(http.StripPrefix("/livekit/sfu", &httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}))
	t.Cleanup(server.Close)
	for end := time.Now().Add(20 * time.Second); ; time.Sleep(50 * time.Millisecond) {
		if resp, err := (&http.Client{Transport: transport}).Get(to.String()); err == nil {
			resp.Body.Close()
			if resp.StatusCode == http.StatusOK {
				break
			}
		}
		if time.Now().After(end) {
			t.Fatalf("LiveKit does not answer:\n%s", log)
		}
	}
	roots = x509.NewCertPool()
	roots.AddCert(server.Certificate())
	_, tlsPort, _ := net.SplitHostPort(server.Listener.Addr().String())
	return "wss://example.com:" + tlsPort + "/livekit/sfu", roots
}

func freePort(t *testing.T) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().(*net.TCPAddr).Port
}

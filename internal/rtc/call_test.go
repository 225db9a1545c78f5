package rtc

import (
	"context"
	"crypto/x509"
	"errors"
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
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/ports"
	"github.com/emdecloud/ecdeploy/internal/livekit"
)

const secret = "a-secret-of-this-test-that-is-long-enough"

// TestCall needs a real LiveKit: ECDEPLOY_LIVEKIT is the path of its server.
func TestCall(t *testing.T) {
	base, client := startLiveKit(t, true, "")
	for _, network := range []string{"udp", "tcp"} {
		t.Run(network, func(t *testing.T) {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			defer cancel()
			got, err := call(base, client, network).Run(ctx)
			if err != nil {
				t.Fatalf("%v, after %+v", err, got)
			}
			if len(got.Flows) != 2 || len(got.Candidates) == 0 || got.Joined != 2 {
				t.Errorf("%+v", got)
			}
			for _, f := range got.Flows {
				// One second of 50 packets of sound, or of 25 of video; the rest was
				// sent before the subscriber was there.
				if f.Packets < 15 || f.Lost > f.Packets/10 || f.Sent < f.Packets || strings.Count(f.Pair, " "+network+" ") != 2 || f.Network != network {
					t.Errorf("%+v", f)
				}
				t.Logf("%+v", f)
			}
		})
	}
	t.Run("many", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
		defer cancel()
		c := call(base, client, "udp")
		for i := range 4 {
			c.Tokens = append(c.Tokens, makeToken(fmt.Sprintf("@more%d:hs.test", i)))
		}
		c.Publishers = 2
		got, err := c.Run(ctx)
		if err != nil || got.Wanted != 20 || len(got.Flows) != 20 || got.Joined != 6 {
			t.Errorf("%v: %+v", err, got)
		}
	})
	t.Run("wrong token", func(t *testing.T) {
		c := call(base, client, "udp")
		c.Tokens[1] = c.Tokens[1][:len(c.Tokens[1])-4] + "AAAA"
		_, err := c.Run(t.Context())
		refused, ok := errors.AsType[*joinError](err)
		if !ok || refused.status != http.StatusUnauthorized || strings.Contains(err.Error(), c.Tokens[1]) {
			t.Error(err)
		}
	})
	t.Run("no trust", func(t *testing.T) {
		stranger := Target{Now: time.Now}.client(vantage{laptop, dialLoopback}, x509.NewCertPool())
		if _, err := call(base, stranger, "udp").Run(t.Context()); err == nil {
			t.Error("a certificate of nobody that is trusted was taken")
		}
	})
}

// Where the SFU offers no way of one kind, the call fails and says how far it
// came; nothing of the other kind is used instead.
func TestCallWithoutTCP(t *testing.T) {
	base, client := startLiveKit(t, false, "")
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	got, err := call(base, client, "tcp").Run(ctx)
	if err == nil || len(got.Flows) != 0 || got.Joined != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	t.Log(err)
}

// By TURN servers alone: media goes from relay to LiveKit.
func TestCallOverTURN(t *testing.T) {
	base, client := startLiveKit(t,
		true,
		fmt.Sprintf("turn: {enabled: true, domain: localhost, udp_port: %d, relay_range_start: 45200, relay_range_end: "+
			"45240, allow_restricted_peer_cidrs: [127.0.0.0/8]}\n",
			ports.Free(t)))
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := call(base, client, overTURN).Run(ctx)
	if err != nil || !got.TURN || len(got.Flows) != 2 {
		t.Fatalf("%v: %+v", err, got)
	}
	for _, f := range got.Flows {
		if f.Packets < 15 || !strings.HasPrefix(f.Pair, "relay ") {
			t.Errorf("%+v", f)
		}
	}
	base, client = startLiveKit(t, true, "")
	if _, err := call(base, client, overTURN).Run(ctx); !errors.Is(err, errNoTURN) {
		t.Error(err)
	}
}

func makeToken(identity string) string {
	return livekit.Pair{Key: host.NewSecret("key"), Secret: host.NewSecret(secret)}.Token(identity,
		livekit.Grant{Room: "room", RoomJoin: true, CanPublish: true, CanSubscribe: true}, time.Now())
}

func call(base string, client *http.Client, network string) Call {
	return Call{URL: base, Client: client, Network: network, Duration: time.Second, Publishers: 1,
		Tokens: []string{makeToken("@alice:hs.test:A"), makeToken("@bob:hs.test:B")}}
}

// dialLoopback connects to a port of this machine, whatever the name.
func dialLoopback(ctx context.Context, network, addr string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(addr)
	if err != nil {
		return nil, err
	}
	return (&net.Dialer{}).DialContext(ctx, network, "127.0.0.1:"+port)
}

// startLiveKit runs it on loopback with a proxy before it that speaks TLS under
// a name that no resolver knows, and takes a prefix off.
func startLiveKit(t *testing.T, tcp bool, more string) (base string, client *http.Client) {
	t.Helper()
	bin := os.Getenv("ECDEPLOY_LIVEKIT")
	if bin == "" {
		t.Skip("needs ECDEPLOY_LIVEKIT=PATH of a livekit-server")
	}
	port, media := ports.Free(t), 0
	if tcp {
		media = ports.Free(t)
	}
	path := filepath.Join(t.TempDir(), "livekit.yaml")
	text := fmt.Sprintf(`port: %d
bind_addresses: [127.0.0.1]
rtc: {tcp_port: %d, port_range_start: 45100, port_range_end: 45140, use_external_ip: false, node_ip: 127.0.0.1, enable_loopback_candidate: true, interfaces: {includes: [lo]}}
keys: {key: %s}
`, port, media, secret) + more
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
		_ = cmd.Process.Kill() // it would wait for who is still there
		_ = cmd.Wait()
		if t.Failed() {
			t.Log(log)
		}
	})
	to := &url.URL{Scheme: "http", Host: fmt.Sprintf("127.0.0.1:%d", port)}
	transport := &http.Transport{DisableKeepAlives: true}
	server := httptest.NewTLSServer(http.StripPrefix("/livekit/sfu",
		&httputil.ReverseProxy{Transport: transport, Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(to) }}))
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
	roots := x509.NewCertPool()
	roots.AddCert(server.Certificate())
	_, tlsPort, _ := net.SplitHostPort(server.Listener.Addr().String())
	return "wss://example.com:" + tlsPort + "/livekit/sfu", Target{Now: time.Now}.client(vantage{laptop, dialLoopback}, roots)
}

package main

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/ports"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
)

const (
	aliceToken   = "opaque-alice"
	foreignToken = "opaque-foreign"
)

// world is a homeserver hs.test (delegated to matrix.hs.test) and an SFU at
// rtc.hs.test behind TLS of an own CA, and a proxy through which these names
// lead there.
type world struct {
	caFile  string
	proxy   string
	sfuDown atomic.Bool

	mu    sync.Mutex
	rooms []string
}

func newWorld(t *testing.T) *world {
	t.Helper()
	w := &world{caFile: filepath.Join(t.TempDir(), "ca.pem")}
	names := []string{"hs.test", "matrix.hs.test", "rtc.hs.test"}
	certificate := w.certificate(t, names)

	mux := http.NewServeMux()
	mux.HandleFunc("hs.test/.well-known/matrix/server", func(rw http.ResponseWriter, _ *http.Request) {
		fmt.Fprint(rw, `{"m.server":"matrix.hs.test:443"}`)
	})
	mux.HandleFunc("matrix.hs.test/_matrix/federation/v1/openid/userinfo", func(rw http.ResponseWriter, r *http.Request) {
		switch r.URL.Query().Get("access_token") {
		case aliceToken:
			fmt.Fprint(rw, `{"sub":"@alice:hs.test"}`)
		case foreignToken:
			fmt.Fprint(rw, `{"sub":"@alice:elsewhere.test"}`)
		default:
			http.Error(rw, `{"errcode":"M_UNKNOWN_TOKEN"}`, http.StatusUnauthorized)
		}
	})
	rooms := livekit.NewRoomServiceServer(&sfu{world: w})
	mux.Handle("rtc.hs.test/livekit/sfu/twirp/", requireToken(http.StripPrefix("/livekit/sfu", rooms)))
	server := httptest.NewUnstartedServer(mux)
	server.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	server.StartTLS()
	t.Cleanup(server.Close)

	proxy := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		host, _, _ := strings.Cut(r.Host, ":")
		if r.Method != http.MethodConnect || !slices.Contains(names, host) || host == "rtc.hs.test" && w.sfuDown.Load() {
			http.Error(rw, "no such host", http.StatusBadGateway)
			return
		}
		tunnelTo(rw, server.Listener.Addr().String())
	}))
	t.Cleanup(proxy.Close)
	w.proxy = proxy.URL
	return w
}

func tunnelTo(rw http.ResponseWriter, addr string) {
	to, err := net.Dial("tcp", addr)
	if err != nil {
		http.Error(rw, err.Error(), http.StatusBadGateway)
		return
	}
	from, _, err := http.NewResponseController(rw).Hijack()
	if err != nil {
		to.Close()
		return
	}
	fmt.Fprint(from, "HTTP/1.1 200 OK\r\n\r\n")
	go func() { _, _ = io.Copy(to, from); to.Close() }()
	_, _ = io.Copy(from, to)
	from.Close()
}

// certificate makes a CA, whose certificate goes to caFile, and a certificate of
// it for names.
func (w *world) certificate(t *testing.T, names []string) tls.Certificate {
	t.Helper()
	caKey, key := newKey(t), newKey(t)
	ca := &x509.Certificate{
		SerialNumber:          big.NewInt(1),
		Subject:               pkix.Name{CommonName: "test CA"},
		NotAfter:              time.Now().Add(time.Hour),
		IsCA:                  true,
		BasicConstraintsValid: true,
		KeyUsage:              x509.KeyUsageCertSign,
	}
	leaf := &x509.Certificate{SerialNumber: big.NewInt(2), DNSNames: names, NotAfter: time.Now().Add(time.Hour)}
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, &caKey.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, &key.PublicKey, caKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(w.caFile, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: caDER}), 0o600); err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

// sfu makes rooms, and nothing else of LiveKit.
type sfu struct {
	livekit.RoomService
	world *world
}

func (s *sfu) CreateRoom(_ context.Context, r *livekit.CreateRoomRequest) (*livekit.Room, error) {
	if r.EmptyTimeout != 300 || r.DepartureTimeout != 20 {
		return nil, fmt.Errorf("time-outs %d and %d", r.EmptyTimeout, r.DepartureTimeout)
	}
	s.world.mu.Lock()
	defer s.world.mu.Unlock()
	s.world.rooms = append(s.world.rooms, r.Name)
	return &livekit.Room{Name: r.Name}, nil
}

// requireToken wants a token that may make rooms.
func requireToken(next http.Handler) http.Handler {
	return http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		v, err := auth.ParseAPIToken(strings.TrimPrefix(r.Header.Get("Authorization"), "Bearer "))
		if err == nil && v.APIKey() == "devkey" {
			if _, claims, err := v.Verify(secret); err == nil && claims.Video.RoomCreate {
				next.ServeHTTP(rw, r)
				return
			}
		}
		http.Error(rw, "unauthorized", http.StatusUnauthorized)
	})
}

func (w *world) madeRooms() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.Clone(w.rooms)
}

// start runs the service until the test ends and returns its URL.
func (w *world) start(t *testing.T, env map[string]string) string {
	t.Helper()
	addr := fmt.Sprintf("127.0.0.1:%d", ports.Free(t))
	cmd := exec.Command(bin)
	cmd.Env = []string{"LIVEKIT_JWT_BIND=" + addr, "SSL_CERT_FILE=" + w.caFile, "HTTPS_PROXY=" + w.proxy}
	for k, v := range env {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var log bytes.Buffer
	cmd.Stderr = &log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("the service did not end well: %v", err)
		}
		if strings.Contains(log.String(), secret) || strings.Contains(log.String(), aliceToken) {
			t.Error("a secret is in the log")
		}
		if t.Failed() {
			t.Logf("its log:\n%s", &log)
		}
	})
	for end := time.Now().Add(30 * time.Second); time.Now().Before(end); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", addr); err == nil {
			conn.Close()
			return "http://" + addr
		}
	}
	t.Fatal("the service does not listen")
	return ""
}

// request follows no redirect.
func (w *world) request(t *testing.T, method, url, body string, headers map[string]string) *http.Response {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range headers {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { resp.Body.Close() })
	return resp
}

func decodePayload(t *testing.T, token string) map[string]any {
	t.Helper()
	parts := strings.Split(token, ".")
	b, err := base64.RawURLEncoding.DecodeString(parts[1])
	if err != nil {
		t.Fatal(err)
	}
	var m map[string]any
	if err := json.Unmarshal(b, &m); err != nil {
		t.Fatal(err)
	}
	return m
}

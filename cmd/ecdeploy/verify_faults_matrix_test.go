package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

const (
	editRoutes     = "edit $routes "
	backNginx      = "back; nginx_again"
	editHomeserver = "edit $homeserver "
	backSynapse    = "back; synapse_again"
)

var anyName = []string{"tls.sfu", "tls.auth", "tls.server"}

// proxyFaults are of nginx and certificates.
var proxyFaults = []verifyFault{
	{name: "LiveKit's prefix is not stripped", field: 8, breaks: editRoutes + `'s|7880/;|7880;|'; nginx_again`, fixes: backNginx, ids: []string{"sfu.root"}, code: "prefix-not-stripped"},
	{name: "the JWT service's prefix is not stripped", field: 8, breaks: editRoutes + `'s|8080/;|8080;|'; nginx_again`, fixes: backNginx, ids: []string{"auth.healthz"}, code: "prefix-not-stripped"},
	{name: "nginx asks at a wrong port", breaks: editRoutes + `'s|8080/;|8081/;|'; nginx_again`, fixes: backNginx, ids: []string{"auth.healthz"}, code: "proxy-wrong-port"},
	{name: "/sfu/get alone is not routed", breaks: editRoutes + `'1i location = /livekit/jwt/sfu/get { return 404; }'; nginx_again`, fixes: backNginx, ids: []string{"auth.sfu-get"}, code: "path-not-routed"},
	{name: "LiveKit is not routed", breaks: editRoutes + `'s|/livekit/sfu/|/livekit/rtc/|'; nginx_again`, fixes: backNginx, ids: []string{"sfu.root"}, code: "path-not-routed"},
	{name: "/twirp is not routed", field: 7, breaks: editRoutes + `'1i location ^~ /livekit/sfu/twirp/ { return 404; }'; nginx_again`, fixes: backNginx, ids: []string{"sfu.create"}, code: "twirp-blocked"},
	{name: "no WebSocket upgrade in nginx", breaks: editRoutes + `-e '/Upgrade/d' -e '/"upgrade"/d'; nginx_again`, fixes: backNginx, ids: []string{"sfu.websocket"}, code: "no-upgrade"},
	{name: "proxy_read_timeout 5s", breaks: editRoutes + `-e 's/proxy_read_timeout 1h/proxy_read_timeout 5s/' -e 's/proxy_send_timeout 1h/proxy_send_timeout 5s/'; nginx_again`, fixes: backNginx, ids: []string{"sfu.websocket"}, code: "proxy-timeout"},
	{name: "nginx adds CORS headers of its own to the JWT service's", field: 12, breaks: editRoutes + `'/8080/a add_header Access-Control-Allow-Origin * always;'; nginx_again`, fixes: backNginx, ids: []string{"auth.sfu-get"}, code: "cors-twice"},
	{name: "nginx keeps the JWT service's CORS headers", field: 12, breaks: editRoutes + `'/8080/a proxy_hide_header Access-Control-Allow-Origin;'; nginx_again`, fixes: backNginx, ids: []string{"auth.sfu-get"}, code: "cors-missing"},
	{name: "nginx refuses OPTIONS", field: 12, breaks: editRoutes + `'/8080/i if ($request_method = OPTIONS) { return 405; }'; nginx_again`, fixes: backNginx, ids: []string{"auth.preflight"}, code: "preflight"},
	{name: "nginx stopped", breaks: "systemctl stop nginx", fixes: "systemctl reset-failed nginx; systemctl start nginx", ids: []string{"tls.sfu"}, code: "https-closed"},
	{name: "an expired certificate", here: makeCertificate(-90*24*time.Hour, -time.Hour, "vfy.test", "*.vfy.test"), ids: anyName, code: "certificate-expired"},
	{name: "a certificate for another name", here: makeCertificate(-time.Hour, 90*24*time.Hour, "other.test"), ids: anyName, code: "certificate-name"},
	{name: "a certificate of an unknown CA", here: makeCertificate(-time.Hour, 90*24*time.Hour), ids: anyName, code: "certificate-untrusted"},
	{name: "a certificate that ends in three days", here: makeCertificate(-87*24*time.Hour, 3*24*time.Hour, "vfy.test", "*.vfy.test"), ids: anyName, code: "certificate-soon", warns: true},
	{name: "well-known without CORS", field: 12, breaks: `edit $site '/add_header Access-Control-Allow-Origin/d'; nginx_again`, fixes: backNginx, ids: []string{"well-known"}, code: "cors-missing"},
	{name: "well-known with two CORS headers", field: 12, breaks: `edit $site 's/\(add_header Access-Control-Allow-Origin .*;\)/\1 \1/'; nginx_again`, fixes: backNginx, ids: []string{"well-known"}, code: "cors-twice"},
	{name: "well-known as text/html", breaks: `edit $site '/well-known.matrix/,/}/s|application/json|text/html|'; nginx_again`, fixes: backNginx, ids: []string{"well-known"}, code: "well-known-type"},
	{name: "well-known not served", field: 1, breaks: `edit $site 's|location /.well-known/matrix/ {|&\nreturn 404;|'; nginx_again`, fixes: backNginx, ids: []string{"well-known"}, code: "well-known-gone"},
	{name: "well-known with a slash at the URL's end", breaks: `edit $known/client 's|/livekit/jwt"|/livekit/jwt/"|'`, fixes: "back", ids: []string{"well-known"}, code: "trailing-slash"},
	{name: "well-known without the backend", field: 1, breaks: `edit $known/client 's|org.matrix.msc4143.rtc_foci|org.matrix.msc4143.rtc|'`, fixes: "back", ids: []string{"well-known"}, code: "well-known-empty"},
	{name: "well-known with another JWT service", breaks: `edit $known/client 's|matrix-rtc-jwt.vfy.test|jwt.example.org|'`, fixes: "back", ids: []string{"well-known"}, code: "well-known-url"},
	{name: "server discovery leads to a closed port", field: 3, breaks: `edit $known/server 's|:443|:4443|'`, fixes: "back", ids: []string{"openid"}, code: "openid-unreachable"},
	{name: "nginx does not pass /_matrix/client/unstable on", field: 1, breaks: `edit $site 's|server_name matrix.vfy.test;|&\nlocation ^~ /_matrix/client/unstable/org.matrix.msc4143/ { return 404; }|'; nginx_again`, fixes: backNginx, ids: []string{"synapse.transports"}, code: "synapse-path"},
}

// matrixFaults are of Synapse.
var matrixFaults = []verifyFault{
	{name: "no openid and no federation in Synapse's listener", field: 3, breaks: editHomeserver + `'s/names: \[client, federation\]/names: [client]/'; synapse_again`, fixes: backSynapse, ids: []string{"synapse.config", "openid"}, code: "no-openid-listener"},
	{name: "transports: []", field: 2, breaks: editHomeserver + `-e '/^    - type: livekit/d' -e '/livekit_service_url/d' -e 's/^  transports:/  transports: []/'; synapse_again`, fixes: backSynapse, ids: []string{"synapse.config"}, code: "transports-empty"},
	{name: "transports name another JWT service", breaks: editHomeserver + `'s|service_url: .*|service_url: "https://jwt.example.org"|'; synapse_again`, fixes: backSynapse, ids: []string{"synapse.config"}, code: "transports-url"},
	{name: "msc4143_enabled off", field: 1, breaks: editHomeserver + `'s/msc4143_enabled: true/msc4143_enabled: false/'; synapse_again`, fixes: backSynapse, ids: []string{"synapse.config"}, code: "flag-off"},
	{name: "msc4222_enabled off", breaks: editHomeserver + `'s/msc4222_enabled: true/msc4222_enabled: false/'; synapse_again`, fixes: backSynapse, ids: []string{"synapse.config"}, code: "sync-flag-off"},
	{name: "delayed events off", field: 13, breaks: editHomeserver + `'/^max_event_delay_duration/d'; synapse_again`, fixes: backSynapse, ids: []string{"synapse.config"}, code: "delayed-events-off"},
	{name: "rate limits at Synapse's defaults", field: 13, breaks: editHomeserver + `-e '/^rc_message:/,/per_second/d' -e '/^rc_delayed_event_mgmt:/,/burst_count/d'; synapse_again`, fixes: backSynapse, ids: []string{"synapse.config"}, code: "rate-limits"},
	{name: "Synapse was not restarted", field: 14, breaks: editHomeserver + `'s/msc4143_enabled: true/msc4143_enabled: false/'; synapse_again; back`, fixes: "synapse_again", ids: []string{"synapse.versions", "synapse.transports"}, code: "synapse-not-restarted"},
	{name: "Synapse was not restarted since delayed events are on", field: 14, breaks: editHomeserver + `'/^max_event_delay_duration/d'; synapse_again; back`, fixes: "synapse_again", ids: []string{"synapse.versions"}, code: "synapse-not-restarted"},
	{name: "Synapse stopped", breaks: "systemctl stop matrix-synapse", fixes: "synapse_again", ids: []string{"synapse.config"}, code: "synapse-down"},
}

// somebodyElse serves another site where a name leads to.
func (l *verifyLane) somebodyElse() (func(), error) {
	listener, err := net.Listen("tcp", l.gateway+":443")
	if err != nil {
		return nil, err
	}
	s := httptest.NewUnstartedServer(http.NotFoundHandler())
	s.Listener.Close()
	s.Listener = listener
	s.Config.ErrorLog = log.New(new(discard), "", 0)
	s.StartTLS()
	return s.Close, nil
}

// loggedOut gives verify a token that is not valid.
func (l *verifyLane) loggedOut() (func(), error) {
	was, err := os.ReadFile(l.token)
	if err != nil {
		return nil, err
	}
	fix := func() {
		if err := os.WriteFile(l.token, was, 0o600); err != nil {
			l.t.Error(err)
		}
	}
	return fix, os.WriteFile(l.token, []byte("syt_gone"), 0o600)
}

type discard struct{}

func (*discard) Write(b []byte) (int, error) { return len(b), nil }

// makeCertificate gives nginx a certificate for names, or, for none, one of a CA that
// nobody knows.
func makeCertificate(from, to time.Duration, names ...string) func(*verifyLane) (func(), error) {
	return func(l *verifyLane) (func(), error) {
		chain, key, err := l.certificate(time.Now().Add(from), time.Now().Add(to), names)
		if err != nil {
			return nil, err
		}
		for name, text := range map[string][]byte{"fullchain.pem": chain, "privkey.pem": key} {
			if err := l.give(name, text); err != nil {
				return nil, err
			}
		}
		fix := func() {
			if _, err := l.on(backNginx); err != nil {
				l.t.Error(err)
			}
		}
		_, err = l.on("save $live/fullchain.pem $live/privkey.pem; for f in fullchain privkey; do cat /run/given/$f.pem >$live/$f.pem; done; nginx_again")
		return fix, err
	}
}

func (l *verifyLane) certificate(from, to time.Time, names []string) (chain, key []byte, err error) {
	mine, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	der, err := x509.MarshalECPrivateKey(mine)
	if err != nil {
		return nil, nil, err
	}
	key = pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
	c := &x509.Certificate{SerialNumber: big.NewInt(time.Now().UnixNano()), Subject: pkix.Name{CommonName: "vfy.test"}, NotBefore: from, NotAfter: to, DNSNames: names, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
	ca, caKey := c, mine
	if len(names) == 0 {
		c.DNSNames = []string{"vfy.test", "*.vfy.test"}
	} else if ca, caKey, err = l.ca(); err != nil {
		return nil, nil, err
	}
	if der, err = x509.CreateCertificate(rand.Reader, c, ca, &mine.PublicKey, caKey); err != nil {
		return nil, nil, err
	}
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), key, nil
}

// ca is the lab's.
func (l *verifyLane) ca() (*x509.Certificate, *ecdsa.PrivateKey, error) {
	file := lab.Env(l.t, "CA")
	text, err := os.ReadFile(filepath.Join(filepath.Dir(file), "ca.key"))
	if err != nil {
		return nil, nil, err
	}
	cert, _ := pem.Decode(lab.CA(l.t))
	key, _ := pem.Decode(text)
	if cert == nil || key == nil {
		return nil, nil, fmt.Errorf("%s and its key are no PEM", file)
	}
	ca, err := x509.ParseCertificate(cert.Bytes)
	if err != nil {
		return nil, nil, err
	}
	k, err := x509.ParseECPrivateKey(key.Bytes)
	return ca, k, err
}

package rtc

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/matrix"
)

// lookAtAuth looks at the JWT service as clients reach it, and at whom it asks.
func (k *verifier) lookAtAuth(ctx context.Context) {
	url := k.Auth.URL
	needs := []string{"container.auth", "tls.auth"}
	var checks []linkCheck
	if k.scope != Announced {
		checks = append(checks,
			linkCheck{id: "auth.healthz", name: "the JWT service at " + url, part: Auth, needs: needs, via: "auth", do: k.healthz},
			linkCheck{id: "auth.sfu-get", name: "what clients ask the JWT service for", part: Auth, needs: needs, via: "auth", do: k.sfuGet},
			linkCheck{id: "auth.preflight", name: "what browsers ask the JWT service first", part: Auth, needs: needs, via: "auth", do: k.preflight})
	}
	if k.scope != Deployed {
		checks = append(checks, linkCheck{id: "openid", name: "the way from the JWT service to the homeserver", part: Auth, do: k.openID})
	}
	k.all(ctx, checks...)
}

// request is one request at the JWT service or LiveKit, with what a browser adds.
func request(ctx context.Context, client *http.Client, method, url string, header map[string]string, body string) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return nil, nil, err
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	return resp, answer, err
}

// asked is one answer at a public name, or why there is none.
type asked struct {
	*http.Response
	body []byte
	lost *result
}

// ask sends a request to a public name as a client does. What got lost is sent once
// more: a line that loses a packet is no failure of the site. Where the proxy's own
// host gets an answer and the laptop none, it is something between them.
func (k *verifier) ask(ctx context.Context, id, method, url string, header map[string]string, body string, otherwise Code) asked {
	n := k.named(id)
	var err error
	for range 2 {
		var resp *http.Response
		var answer []byte
		if resp, answer, err = request(ctx, k.client(n.route, k.Roots), method, url, header, body); err == nil {
			return asked{resp, answer, nil}
		}
	}
	r := k.between(n, err, otherwise, func(v vantage) error {
		_, _, err := request(ctx, k.client(v, k.Roots), method, url, header, body)
		return err
	})
	return asked{lost: &r}
}

// between is who is to blame for what got lost at a public name.
func (k *verifier) between(n *name, cause error, otherwise Code, again func(vantage) error) result {
	if v, ok := k.frontVantage(n); ok && n.route.name == laptop && again(v) == nil {
		return bad("https-blocked", WaySide, cause.Error(), "from "+v.name+" itself it is answered")
	}
	return bad(otherwise, HostSide, cause.Error())
}

// misrouted is why the proxy does not answer as the service behind it does. base and
// path are a URL of the service on its own host, which answers it with status want.
func (k *verifier) misrouted(ctx context.Context, a asked, url, on, base, path string, want int) result {
	got, local := a.StatusCode, base+path
	said := answers(got, url)
	direct := func(url string) (int, string) {
		resp, body, err := request(ctx, k.client(k.onHost(on), nil), http.MethodGet, url, nil, "")
		if err != nil {
			return 0, ""
		}
		return resp.StatusCode, string(body)
	}
	status, _ := direct(local)
	evidence := []string{said, answers(status, local+" on "+on)}
	switch {
	case status != want:
		return bad("path-not-routed", HostSide, evidence...)
	case got == http.StatusBadGateway, got == http.StatusServiceUnavailable, got == http.StatusGatewayTimeout:
		return bad("proxy-wrong-port", HostSide, evidence...)
	case got != http.StatusNotFound || pathOf(url) == pathOf(local):
		return bad("path-not-routed", HostSide, evidence...)
	}
	// Whose 404 is it? The service words its own otherwise than the proxy.
	whole := base + pathOf(url)
	if status, body := direct(whole); status == got && body == string(a.body) {
		return bad("prefix-not-stripped", HostSide, append(evidence, answers(status, whole+" on "+on)+", in the same words")...)
	}
	return bad("path-not-routed", HostSide, evidence...)
}

func (k *verifier) onHost(name string) vantage { return on(k.Hosts[name]) }

func (k *verifier) healthz(ctx context.Context) result {
	url := k.Auth.URL + "/healthz"
	a := k.ask(ctx, "auth", http.MethodGet, url, nil, "", "path-not-routed")
	switch {
	case a.lost != nil:
		return *a.lost
	case a.StatusCode != http.StatusOK:
		return k.misrouted(ctx, a, url, k.Auth.Host, k.Auth.Local, "/healthz", http.StatusOK)
	}
	return good(answers(200, url))
}

// clientPaths are what clients ask the JWT service for: the newer first, and
// /sfu/get where a service has only that (MSC4195).
var clientPaths = []string{"/sfu/get", "/get_token"}

// sfuGet asks as no client does: that only POST is allowed there tells that the
// path leads to the service, and needs no token.
func (k *verifier) sfuGet(ctx context.Context) result {
	for _, path := range clientPaths {
		url := k.Auth.URL + path
		a := k.ask(ctx, "auth", http.MethodGet, url, map[string]string{"Origin": origin}, "", "path-not-routed")
		switch {
		case a.lost != nil:
			return *a.lost
		case a.StatusCode != http.StatusMethodNotAllowed:
			return k.misrouted(ctx, a, url, k.Auth.Host, k.Auth.Local, path, http.StatusMethodNotAllowed)
		}
		if r := oneOrigin(url, a.Header); r.status == Failed {
			return r
		}
	}
	return good("/sfu/get and /get_token answer GET with 405 and one Access-Control-Allow-Origin")
}

func (k *verifier) preflight(ctx context.Context) result {
	for _, path := range clientPaths {
		if r := k.preflightOf(ctx, k.Auth.URL+path); r.status == Failed {
			return r
		}
	}
	return good("OPTIONS of /sfu/get and /get_token is answered as a browser wants it")
}

func (k *verifier) preflightOf(ctx context.Context, url string) result {
	a := k.ask(ctx, "auth", http.MethodOptions, url, map[string]string{
		"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}, "", "preflight")
	if a.lost != nil {
		return *a.lost
	}
	if a.StatusCode/100 != 2 {
		return bad("preflight", HostSide, answers(a.StatusCode, "OPTIONS "+url))
	}
	if r := oneOrigin(url, a.Header); r.status == Failed {
		return r
	}
	for header, want := range map[string]string{"Access-Control-Allow-Methods": "post", "Access-Control-Allow-Headers": "content-type"} {
		if v := strings.ToLower(strings.Join(a.Header.Values(header), ",")); !strings.Contains(v, want) && !strings.Contains(v, "*") {
			return bad("preflight", HostSide, fmt.Sprintf("OPTIONS %s allows %s: %q", url, header, v))
		}
	}
	return result{}
}

// openID goes the way that the JWT service goes for each join: server discovery
// from its own host, with the CAs that it trusts.
func (k *verifier) openID(ctx context.Context) result {
	r := k.lookUp(ctx)
	r.from = k.Auth.Host
	return r
}

func (k *verifier) lookUp(ctx context.Context) result {
	v := k.inContainer(ctx)
	roots, err := k.jwtRoots(ctx)
	if err != nil {
		return unseen(err.Error())
	}
	server, err := matrix.LookUp(ctx, k.follow(v, roots), k.Site.Name)
	if err == nil {
		return good(server + " knows no made-up token: 401 M_UNKNOWN_TOKEN")
	}
	e, ok := errors.AsType[*matrix.LookUpError](err)
	if !ok {
		return bad("openid-unreachable", HostSide, err.Error())
	}
	if e.Err == nil {
		code := Code("openid-unreachable")
		if e.Status == http.StatusNotFound {
			code = "no-openid-listener"
		}
		return bad(code, HostSide, err.Error())
	}
	if _, untrusted := certificate(e.Err); untrusted {
		return bad("openid-certificate", HostSide, err.Error())
	}
	// From outside the same way may work: then the host does not reach itself.
	if _, outside := matrix.LookUp(ctx, k.follow(here(), k.Roots), k.Site.Name); outside == nil {
		return bad("hairpin", HostSide, err.Error(), "from the laptop the same way works")
	}
	return bad("openid-unreachable", HostSide, err.Error())
}

// follow is a client that follows redirects, as server discovery does.
func (k *verifier) follow(v vantage, roots *x509.CertPool) *http.Client {
	c := k.client(v, roots)
	c.CheckRedirect = nil
	return c
}

// jwtRoots are the CAs that the JWT service trusts: its image's, which are the
// system's, unless the plan file gives it a file of others on its host, and the
// container that runs has it.
func (k *verifier) jwtRoots(ctx context.Context) (*x509.CertPool, error) {
	path := k.Auth.Trust
	if path == "" {
		return nil, nil
	}
	if m := k.seen[k.Auth.Host]; m != nil {
		c, ok := m.containers[k.Auth.Container]
		if _, has := c.env("SSL_CERT_FILE"); ok && !has {
			return nil, nil
		}
	}
	files, err := k.Hosts[k.Auth.Host].Read(ctx, path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(files[0].Data) {
		return nil, fmt.Errorf("%s on %s holds no certificate", path, k.Auth.Host)
	}
	return roots, nil
}

// inContainer looks from the JWT service's container: it shares the host's network,
// and has the host's /etc/hosts and resolver as they were when it started.
func (k *verifier) inContainer(ctx context.Context) vantage {
	h := k.Hosts[k.Auth.Host]
	known := map[string]string{}
	res, err := h.Query(ctx, host.Sh(`p=$(docker inspect -f '{{.HostsPath}}' "$1") && cat "$p"`, k.Auth.Container))
	if err == nil && res[0].OK() {
		for line := range strings.Lines(string(res[0].Stdout)) {
			line, _, _ = strings.Cut(line, "#")
			f := strings.Fields(line)
			for i := 1; i < len(f); i++ {
				if _, ok := known[f[i]]; !ok && net.ParseIP(f[0]) != nil {
					known[f[i]] = f[0]
				}
			}
		}
	}
	v := on(h)
	return vantage{v.name, func(ctx context.Context, network, addr string) (net.Conn, error) {
		name, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		if ip, ok := known[name]; ok {
			addr = net.JoinHostPort(ip, port)
		}
		ctx, cancel := context.WithTimeout(ctx, dialTime)
		defer cancel()
		return v.dial(ctx, network, addr)
	}}
}

package rtc

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/matrix"
)

// lookAtAuth looks at the JWT service as clients reach it, and at whom it asks.
func (k *looker) lookAtAuth(ctx context.Context) {
	url := k.Site.Auth.URL
	needs := []string{"container.auth", "tls.auth"}
	var looks []look
	if k.scope != Announced {
		looks = append(looks,
			look{id: "auth.healthz", name: "the JWT service at " + url, part: Auth, needs: needs, via: "auth", do: k.healthz},
			look{id: "auth.sfu-get", name: "what clients ask the JWT service for", part: Auth, needs: needs, via: "auth", do: k.sfuGet},
			look{id: "auth.preflight", name: "what browsers ask the JWT service first", part: Auth, needs: needs, via: "auth", do: k.preflight})
	}
	if k.scope != Deployed {
		looks = append(looks, look{id: "openid", name: "the way from the JWT service to the homeserver", part: Auth, do: k.openID})
	}
	k.all(ctx, looks...)
}

// localAuth is where the JWT service answers on its own host.
func (k *looker) localAuth() string {
	return "http://" + net.JoinHostPort(loopback(k.Site.Auth.Bind), strconv.Itoa(k.Site.Auth.Port))
}

// loopback is where something bound to ip answers on its own host.
func loopback(ip string) string {
	if a := net.ParseIP(ip); ip == "" || a != nil && a.IsUnspecified() {
		return "127.0.0.1"
	}
	return ip
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

// misrouted is why the proxy does not answer as the service behind it does. local
// is a URL of the service on its own host, which answers it with status want.
func (k *looker) misrouted(ctx context.Context, got int, url, on, local string, want int) result {
	said := answers(got, url)
	status := 0
	if resp, _, err := request(ctx, k.client(k.onHost(on), nil), http.MethodGet, local, nil, ""); err == nil {
		status = resp.StatusCode
	}
	evidence := []string{said, answers(status, local+" on "+on)}
	switch {
	case status != want:
		return bad("path-not-routed", HostSide, evidence...)
	case got == http.StatusBadGateway, got == http.StatusServiceUnavailable, got == http.StatusGatewayTimeout:
		return bad("proxy-wrong-port", HostSide, evidence...)
	case got == http.StatusNotFound && pathOf(url) != pathOf(local):
		return bad("prefix-not-stripped", HostSide, evidence...)
	}
	return bad("path-not-routed", HostSide, evidence...)
}

func (k *looker) onHost(name string) vantage { return on(k.Hosts[name]) }

func (k *looker) healthz(ctx context.Context) result {
	url := k.Site.Auth.URL + "/healthz"
	resp, _, err := request(ctx, k.by("auth"), http.MethodGet, url, nil, "")
	switch {
	case err != nil:
		return bad("path-not-routed", HostSide, err.Error())
	case resp.StatusCode != http.StatusOK:
		return k.misrouted(ctx, resp.StatusCode, url, k.Site.Auth.Host, k.localAuth()+"/healthz", http.StatusOK)
	}
	return good(answers(200, url))
}

// sfuGet asks as no client does: that only POST is allowed there tells that the
// path leads to the service, and needs no token.
func (k *looker) sfuGet(ctx context.Context) result {
	for _, path := range []string{"/sfu/get", "/get_token"} {
		url := k.Site.Auth.URL + path
		resp, _, err := request(ctx, k.by("auth"), http.MethodGet, url, map[string]string{"Origin": origin}, "")
		switch {
		case err != nil:
			return bad("path-not-routed", HostSide, err.Error())
		case resp.StatusCode != http.StatusMethodNotAllowed:
			return k.misrouted(ctx, resp.StatusCode, url, k.Site.Auth.Host, k.localAuth()+path, http.StatusMethodNotAllowed)
		}
		if r := oneOrigin(url, resp.Header); r.status == Failed {
			return r
		}
	}
	return good("/sfu/get and /get_token answer GET with 405 and one Access-Control-Allow-Origin")
}

func (k *looker) preflight(ctx context.Context) result {
	url := k.Site.Auth.URL + "/sfu/get"
	resp, _, err := request(ctx, k.by("auth"), http.MethodOptions, url, map[string]string{
		"Origin": origin, "Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "content-type"}, "")
	if err != nil {
		return bad("preflight", HostSide, err.Error())
	}
	if resp.StatusCode/100 != 2 {
		return bad("preflight", HostSide, answers(resp.StatusCode, "OPTIONS "+url))
	}
	if r := oneOrigin(url, resp.Header); r.status == Failed {
		return r
	}
	for header, want := range map[string]string{"Access-Control-Allow-Methods": "post", "Access-Control-Allow-Headers": "content-type"} {
		if v := strings.ToLower(strings.Join(resp.Header.Values(header), ",")); !strings.Contains(v, want) && !strings.Contains(v, "*") {
			return bad("preflight", HostSide, fmt.Sprintf("OPTIONS %s allows %s: %q", url, header, v))
		}
	}
	return good(answers(resp.StatusCode, "OPTIONS "+url))
}

// openID goes the way that the JWT service goes for each join: server discovery
// from its own host, with the CAs that it trusts.
func (k *looker) openID(ctx context.Context) result {
	r := k.lookUp(ctx)
	r.from = k.Site.Auth.Host
	return r
}

func (k *looker) lookUp(ctx context.Context) result {
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
func (k *looker) follow(v vantage, roots *x509.CertPool) *http.Client {
	c := k.client(v, roots)
	c.CheckRedirect = nil
	return c
}

// jwtRoots are the CAs that the JWT service trusts: its image's, which are the
// system's, unless the plan file gives it a file of others on its host.
func (k *looker) jwtRoots(ctx context.Context) (*x509.CertPool, error) {
	path := k.Site.Auth.CAFile
	if path == "" {
		return nil, nil
	}
	files, err := k.Hosts[k.Site.Auth.Host].Read(ctx, path)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(files[0].Data) {
		return nil, fmt.Errorf("%s on %s holds no certificate", path, k.Site.Auth.Host)
	}
	return roots, nil
}

// inContainer looks from the JWT service's container: it shares the host's network,
// and has the host's /etc/hosts and resolver as they were when it started.
func (k *looker) inContainer(ctx context.Context) vantage {
	h := k.Hosts[k.Site.Auth.Host]
	known := map[string]string{}
	res, err := h.Query(ctx, host.Sh(`p=$(docker inspect -f '{{.HostsPath}}' "$1") && cat "$p"`, k.Site.Auth.Container))
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

package main

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// newClient trusts what the machine trusts; SSL_CERT_FILE names another file.
func newClient(skipVerify bool) *http.Client {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.TLSClientConfig = &tls.Config{InsecureSkipVerify: skipVerify}
	t.DisableKeepAlives = true
	return &http.Client{Transport: t, Timeout: 15 * time.Second}
}

// userInfo asks a homeserver over federation whom an OpenID token is of
// (Server-Server API, GET /_matrix/federation/v1/openid/userinfo).
func userInfo(ctx context.Context, client *http.Client, server, token string) (string, error) {
	addr, host, err := discover(ctx, client, server)
	if err != nil {
		return "", err
	}
	var answer struct {
		Sub string `json:"sub"`
	}
	u := url.URL{Scheme: "https", Host: addr, Path: "/_matrix/federation/v1/openid/userinfo", RawQuery: url.Values{"access_token": {token}}.Encode()}
	if err := getJSON(ctx, client, u.String(), host, &answer); err != nil {
		return "", errors.New(strings.ReplaceAll(err.Error(), url.QueryEscape(token), "***"))
	}
	if !strings.HasPrefix(answer.Sub, "@") || !strings.HasSuffix(answer.Sub, ":"+server) {
		return "", fmt.Errorf("userID doesn't match server name '%s' != '%s'", answer.Sub, server)
	}
	return answer.Sub, nil
}

// discover resolves a server name (Server-Server API, "Resolving server
// names"): where to connect to, and the Host header to send. A host found by
// SRV has the certificate of who delegates to it, which URLs cannot say: that
// case is an error here.
func discover(ctx context.Context, client *http.Client, server string) (addr, host string, err error) {
	if addr, ok := literal(server); ok {
		return addr, server, nil
	}
	var wellKnown struct {
		Server string `json:"m.server"`
	}
	delegated := server
	if getJSON(ctx, client, "https://"+server+"/.well-known/matrix/server", "", &wellKnown) == nil && wellKnown.Server != "" {
		delegated = wellKnown.Server
		if addr, ok := literal(delegated); ok {
			return addr, delegated, nil
		}
	}
	for _, name := range []string{"matrix-fed", "matrix"} {
		_, found, err := net.DefaultResolver.LookupSRV(ctx, name, "tcp", delegated)
		if err == nil && len(found) > 0 {
			target := strings.TrimSuffix(found[0].Target, ".")
			if target != delegated {
				return "", "", fmt.Errorf("%s is delegated by SRV to %s, which this stand-in cannot follow", delegated, target)
			}
			return net.JoinHostPort(target, strconv.Itoa(int(found[0].Port))), delegated, nil
		}
	}
	return net.JoinHostPort(delegated, "8448"), delegated, nil
}

// literal is the address of a name that is looked up no further: one with a
// port, or an IP address.
func literal(server string) (string, bool) {
	if _, port, err := net.SplitHostPort(server); err == nil && port != "" {
		return server, true
	}
	if ip, err := netip.ParseAddr(strings.Trim(server, "[]")); err == nil {
		return net.JoinHostPort(ip.String(), "8448"), true
	}
	return "", false
}

func getJSON(ctx context.Context, client *http.Client, u, host string, into any) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, u, nil)
	if err != nil {
		return err
	}
	req.Host = host
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("HTTP %s", resp.Status)
	}
	return json.NewDecoder(io.LimitReader(resp.Body, 64<<10)).Decode(into)
}

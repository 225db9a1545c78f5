// Package matrix asks homeservers on the way that the Matrix specification
// describes. It knows nothing of hosts: an http.Client decides from where it asks
// and whom it trusts.
package matrix

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// federationPort is where a homeserver is when nothing says otherwise.
const federationPort = "8448"

// Bounds of one request.
const (
	requestTime = 10 * time.Second
	maxBody     = 256 << 10 // bytes of an answer that are read
)

// Get is one GET request and its answer, the body cut to 256 KiB and closed. The
// error is the client's.
func Get(ctx context.Context, client *http.Client, url string, header map[string]string) (*http.Response, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return nil, nil, fmt.Errorf("make request: %w", err)
	}
	for name, v := range header {
		req.Header.Set(name, v)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, nil, err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxBody))
	if err != nil {
		return nil, nil, fmt.Errorf("read the answer of %s: %w", url, err)
	}
	return resp, body, nil
}

// LookUpError says how an OpenID look-up failed.
type LookUpError struct {
	Name   string // of the homeserver
	Server string // host:port, where server discovery leads
	Status int    // HTTP; 0 where there was no answer
	Err    error  // why there was none
}

func (e *LookUpError) Error() string {
	at := fmt.Sprintf("%s, where %s is according to server discovery", e.Server, e.Name)
	if e.Err != nil {
		return at + ": " + e.Err.Error()
	}
	return fmt.Sprintf("%s, answers %d to an OpenID look-up, not 401 M_UNKNOWN_TOKEN", at, e.Status)
}

func (e *LookUpError) Unwrap() error { return e.Err }

// LookUp asks a homeserver, found as the specification says, whose a made-up
// OpenID token is (Server-Server API, "OpenID"). That it knows no such token is
// the right answer; anything else is a *LookUpError. The client follows redirects.
func LookUp(ctx context.Context, client *http.Client, name string) (server string, err error) {
	server = Discover(ctx, client, name)
	resp, body, err := Get(ctx, client, "https://"+server+"/_matrix/federation/v1/openid/userinfo?access_token=made-up", nil)
	if err != nil {
		return server, &LookUpError{Name: name, Server: server, Err: err}
	}
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(string(body), "M_UNKNOWN_TOKEN") {
		return server, &LookUpError{Name: name, Server: server, Status: resp.StatusCode}
	}
	return server, nil
}

// Discover is host:port of a server name, by the steps of the specification
// that need no certificate for another name (Server-Server API, "Server
// discovery"): its own port, the server well-known, SRV records (as this machine
// sees them), port 8448.
func Discover(ctx context.Context, client *http.Client, name string) string {
	if direct, ok := withPort(name); ok {
		return direct
	}
	resp, body, err := Get(ctx, client, "https://"+name+"/.well-known/matrix/server", nil)
	if err == nil && resp.StatusCode == http.StatusOK {
		var v struct {
			Server string `json:"m.server"`
		}
		if json.Unmarshal(body, &v) == nil && v.Server != "" && !strings.ContainsFunc(v.Server, unnameable) {
			if direct, ok := withPort(v.Server); ok {
				return direct
			}
			name = v.Server
		}
	}
	for _, service := range []string{"matrix-fed", "matrix"} {
		if _, all, err := net.DefaultResolver.LookupSRV(ctx, service, "tcp", name); err == nil && len(all) > 0 {
			return net.JoinHostPort(strings.TrimSuffix(all[0].Target, "."), fmt.Sprint(all[0].Port))
		}
	}
	return net.JoinHostPort(strings.Trim(name, "[]"), federationPort)
}

// unnameable reports what no server name holds.
func unnameable(r rune) bool { return r <= ' ' || r > '~' || strings.ContainsRune("/?#@\\", r) }

// withPort is name as host:port, where it says all that is needed: it has a
// port, or is an address.
func withPort(name string) (string, bool) {
	if _, _, err := net.SplitHostPort(name); err == nil {
		return name, true
	}
	if bare := strings.Trim(name, "[]"); net.ParseIP(bare) != nil {
		return net.JoinHostPort(bare, federationPort), true
	}
	return "", false
}

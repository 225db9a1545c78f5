package engine

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// federationPort is where a homeserver is when nothing says otherwise.
const federationPort = "8448"

// identity asks a homeserver, found as the specification says, whose a made-up
// OpenID token is.
func (k Checker) identity(ctx context.Context, h host.Host, c steps.IdentityCheck) error {
	client := k.client(h, "", c.Public, true)
	defer client.CloseIdleConnections()
	server := discover(ctx, client, c.ServerName)
	base := "https://" + server
	resp, body, err := fetch(ctx, client, base+"/_matrix/federation/v1/openid/userinfo?access_token=made-up", nil)
	if err != nil {
		return fmt.Errorf("%s, where %s is according to server discovery: %w", server, c.ServerName, err)
	}
	if resp.StatusCode != http.StatusUnauthorized || !strings.Contains(string(body), "M_UNKNOWN_TOKEN") {
		return fmt.Errorf("%s, where %s is according to server discovery, answers %d to an OpenID look-up, not 401 M_UNKNOWN_TOKEN", server, c.ServerName, resp.StatusCode)
	}
	return nil
}

// discover is host:port of a server name, by the steps of the specification
// that need no certificate for another name: its own port, the server
// well-known, SRV records (as the laptop sees them), port 8448.
func discover(ctx context.Context, client *http.Client, name string) string {
	if direct, ok := withPort(name); ok {
		return direct
	}
	resp, body, err := fetch(ctx, client, "https://"+name+"/.well-known/matrix/server", nil)
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

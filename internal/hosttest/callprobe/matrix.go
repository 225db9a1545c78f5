// Package callprobe goes the way of a client that wants to join a call: from a
// Matrix access token over the JWT service to a token for the SFU. It is written
// apart from the product's own look at that way. It knows no resolver and no trust
// store of the machine: both come with each call, so that it also reaches hosts
// whose names exist only in a test.
package callprobe

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// Matrix is a user who is logged in at a homeserver.
type Matrix struct {
	Homeserver  string // base URL of the Client-Server API
	ServerName  string
	User        string // localpart
	AccessToken string
	Roots       *x509.CertPool
	Hosts       map[string]string // name to address, for names that no resolver knows
}

// Token admits its holder to one room of one SFU.
type Token struct {
	URL string `json:"url"` // of the SFU, ws or wss
	JWT string `json:"jwt"`
}

// Token asks the homeserver for an OpenID token (Client-Server API, POST
// /user/{userId}/openid/request_token) and gives it to the JWT service at
// jwtURL, as Element Call does: /get_token first, and /sfu/get where a service
// has only that.
func (m Matrix) Token(ctx context.Context, jwtURL, room string) (Token, error) {
	client := Client(m.Roots, m.Hosts)
	defer client.CloseIdleConnections()
	user := "@" + m.User + ":" + m.ServerName
	var openID struct {
		AccessToken string `json:"access_token"`
		TokenType   string `json:"token_type"`
		ServerName  string `json:"matrix_server_name"`
		ExpiresIn   int    `json:"expires_in"` // seconds
	}
	ask := strings.TrimSuffix(m.Homeserver, "/") + "/_matrix/client/v3/user/" + url.PathEscape(user) + "/openid/request_token"
	if status, err := post(ctx, client, ask, m.AccessToken, struct{}{}, &openID); err != nil {
		return Token{}, fmt.Errorf("ask %s for an OpenID token: %w", m.Homeserver, err)
	} else if status != http.StatusOK || openID.AccessToken == "" {
		return Token{}, fmt.Errorf("ask %s for an OpenID token: HTTP status %d", m.Homeserver, status)
	}
	const device = "CALLPROBE"
	var token Token
	status, err := post(ctx, client, jwtURL+"/get_token", "", map[string]any{
		"room_id": room, "slot_id": "m.call#ROOM", "openid_token": openID,
		"member": map[string]string{"id": "callprobe-" + m.User, "claimed_user_id": user, "claimed_device_id": device},
	}, &token)
	if err == nil && status == http.StatusNotFound {
		status, err = post(ctx, client, jwtURL+"/sfu/get", "", map[string]any{"room": room, "openid_token": openID, "device_id": device}, &token)
	}
	switch {
	case err != nil:
		return Token{}, fmt.Errorf("ask the JWT service at %s: %w", jwtURL, err)
	case status != http.StatusOK || token.JWT == "" || token.URL == "":
		return Token{}, fmt.Errorf("the JWT service at %s gives no token: HTTP status %d", jwtURL, status)
	}
	return token, nil
}

// post sends JSON and reads JSON if the status is 200. A Matrix error becomes
// part of the Go error.
func post(ctx context.Context, client *http.Client, to, bearer string, body, into any) (int, error) {
	b, err := json.Marshal(body)
	if err != nil {
		return 0, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, to, bytes.NewReader(b))
	if err != nil {
		return 0, err
	}
	req.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		req.Header.Set("Authorization", "Bearer "+bearer)
	}
	resp, err := client.Do(req)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(io.LimitReader(resp.Body, 1<<20))
	if err != nil {
		return 0, err
	}
	if resp.StatusCode == http.StatusOK {
		return resp.StatusCode, json.Unmarshal(answer, into)
	}
	var matrix struct {
		Code  string `json:"errcode"`
		Error string `json:"error"`
	}
	if json.Unmarshal(answer, &matrix) == nil && matrix.Code != "" && matrix.Code != "M_UNRECOGNIZED" {
		return resp.StatusCode, fmt.Errorf("HTTP status %d, %s: %s", resp.StatusCode, matrix.Code, matrix.Error)
	}
	return resp.StatusCode, nil
}

// Client dials names through hosts and trusts roots alone; nil are those of
// the machine. It uses no proxy and only HTTP/1.1, which WebSocket needs.
func Client(roots *x509.CertPool, hosts map[string]string) *http.Client {
	dialer := net.Dialer{Timeout: 10 * time.Second}
	return &http.Client{Transport: &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			name, port, err := net.SplitHostPort(addr)
			if err != nil {
				return nil, err
			}
			if ip, ok := hosts[name]; ok {
				addr = net.JoinHostPort(ip, port)
			}
			return dialer.DialContext(ctx, network, addr)
		},
	}}
}

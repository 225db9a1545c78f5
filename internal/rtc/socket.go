package rtc

import (
	"context"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"strings"

	"github.com/coder/websocket"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// joinError says that the SFU, or who stands before it, did not open a WebSocket.
type joinError struct {
	status int    // HTTP; 0 where there was no answer
	body   string // its beginning
	err    error
}

func (e *joinError) Error() string {
	if e.status == 0 {
		return e.err.Error()
	}
	return fmt.Sprintf("HTTP %d %q: %v", e.status, e.body, e.err)
}

func (e *joinError) Unwrap() error { return e.err }

// openSignalling opens LiveKit's WebSocket for participants below url,
// wss://name[/prefix].
func openSignalling(ctx context.Context, client *http.Client, to, jwt string) (*websocket.Conn, error) {
	return openSocket(ctx,
		client,
		strings.TrimSuffix(to, "/")+"/rtc",
		url.Values{"protocol": {"9"}, "sdk": {"go"}, "version": {"1.0.0"}, "auto_subscribe": {"1"}},
		jwt)
}

// openSocket opens a WebSocket of LiveKit's; an error is a *joinError.
func openSocket(ctx context.Context, client *http.Client, to string, query url.Values, jwt string) (*websocket.Conn, error) {
	q := url.Values{"access_token": {jwt}}
	maps.Copy(q, query)
	dial, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	ws, resp, err := websocket.Dial(dial, to+"?"+q.Encode(), &websocket.DialOptions{HTTPClient: client})
	if err != nil {
		e := &joinError{err: hide(err, jwt)}
		if resp != nil {
			e.status = resp.StatusCode
			if resp.Body != nil {
				b, _ := io.ReadAll(io.LimitReader(resp.Body, 200)) // the status says it, too
				e.body = strings.TrimSpace(host.Clean(string(b)))
			}
		}
		return nil, e
	}
	ws.SetReadLimit(1 << 20)
	return ws, nil
}

// hidden is an error whose text had a token in it.
type hidden struct {
	error
	text string
}

func (h hidden) Error() string { return h.text }
func (h hidden) Unwrap() error { return h.error }

func hide(err error, token string) error {
	return hidden{err, host.Clean(strings.ReplaceAll(err.Error(), token, "***"))}
}

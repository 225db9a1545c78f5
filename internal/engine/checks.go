package engine

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"strings"
	"time"

	"al.essio.dev/pkg/shellescape"

	"github.com/emdecloud/ecdeploy/internal/hint"
	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/matrix"
	"github.com/emdecloud/ecdeploy/steps"
)

// Checker carries out checks, from the hosts' point of view.
type Checker struct {
	Roots *x509.CertPool // nil: the laptop's own
}

// checkPause lies between two tries of a check.
const checkPause = 400 * time.Millisecond

// Run tries c until it succeeds or its time is over. What it waits for is
// emitted; a failure comes with the last lines of the log that explains it.
func (k Checker) Run(ctx context.Context, h host.Host, c steps.Check, emit Sink) error {
	began := time.Now()
	tryCtx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	emit(Progress{Text: "waits until " + c.Name + " (at most " + c.Timeout.String() + ")"})
	var last error
	for {
		err := k.try(tryCtx, h, c)
		if err == nil {
			emit(Checked{Name: c.Name, Took: time.Since(began)})
			return nil
		}
		if last == nil || tryCtx.Err() == nil {
			last = err
		}
		select {
		case <-tryCtx.Done():
			if ctx.Err() != nil {
				return fmt.Errorf("check that %s: %w", c.Name, context.Cause(ctx))
			}
			emit(Checked{Name: c.Name, Took: time.Since(began), Err: last.Error()})
			return k.explain(ctx, h, c, last)
		case <-time.After(checkPause):
		}
	}
}

func (k Checker) try(ctx context.Context, h host.Host, c steps.Check) error {
	switch {
	case c.Container != nil:
		return steady(ctx, h, *c.Container)
	case c.Identity != nil:
		return k.identity(ctx, h, *c.Identity)
	}
	return k.request(ctx, h, *c.HTTP)
}

// explain adds the log's last lines and the hint.
func (k Checker) explain(ctx context.Context, h host.Host, c steps.Check, cause error) error {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Second)
	defer cancel()
	text := ""
	kind, name, _ := strings.Cut(c.Logs, ":")
	switch kind {
	case "docker":
		if d, err := h.Docker(ctx); err == nil {
			text, _ = d.Logs(ctx, name, 12) // without a log the failure still stands
		}
	case "unit":
		if res, err := h.Query(ctx, host.Sh("journalctl -q -n 12 --no-pager -o cat -u "+shellescape.Quote(name))); err == nil {
			text = host.Clean(string(res[0].Stdout))
		}
	}
	err := fmt.Errorf("check that %s: %w", c.Name, cause)
	if text = strings.TrimSpace(text); text != "" {
		err = fmt.Errorf("%w\nlast lines of its log:\n%s", err, host.Indent(text, "  "))
	}
	if c.Hint != "" {
		err = hint.Wrap(err, c.Hint)
	}
	return err
}

// steady wants a container that runs for a while without a restart. LiveKit
// ends with status 0 on a bad configuration and would restart forever.
func steady(ctx context.Context, h host.Host, c steps.ContainerCheck) error {
	d, err := h.Docker(ctx)
	if err != nil {
		return err
	}
	first, ok, err := d.Inspect(ctx, c.Name)
	switch {
	case err != nil:
		return err
	case !ok:
		return fmt.Errorf("container %s is not there", c.Name)
	case !first.Running:
		return fmt.Errorf("container %s does not run (it ended with status %d)", c.Name, first.ExitCode)
	}
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(c.Steady):
	}
	second, ok, err := d.Inspect(ctx, c.Name)
	if err != nil {
		return err
	}
	if !ok || !second.Running || second.RestartCount != first.RestartCount || !second.StartedAt.Equal(first.StartedAt) {
		return fmt.Errorf("container %s does not keep running (restarted %d times)", c.Name, second.RestartCount)
	}
	return nil
}

func (k Checker) request(ctx context.Context, h host.Host, c steps.HTTPCheck) error {
	client := k.client(h, c.Dial, c.Public, false)
	defer client.CloseIdleConnections()
	resp, body, err := matrix.Get(ctx, client, c.URL, c.Header)
	switch {
	case c.Unsaid != "" && err == nil && strings.Contains(string(body), c.Unsaid):
		return fmt.Errorf("%s still names %s", c.URL, c.Unsaid)
	case c.Unsaid != "":
		return nil
	case err != nil:
		return tlsHint(err)
	}
	return judge(c, resp, body)
}

// client asks from the host's point of view. dial is the address to connect to
// instead of the URL's; public leaves out the CAs that the plan file names.
func (k Checker) client(h host.Host, dial string, public, redirects bool) *http.Client {
	roots := k.Roots
	if public {
		roots = nil
	}
	client := &http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, network, addr string) (net.Conn, error) {
			if dial != "" {
				addr = dial
			}
			return h.DialContext(ctx, network, addr)
		},
		TLSClientConfig:   &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12},
		DisableKeepAlives: true,
	}}
	if !redirects {
		client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	}
	return client
}

// identity asks a homeserver, found as the specification says, whose a made-up
// OpenID token is.
func (k Checker) identity(ctx context.Context, h host.Host, c steps.IdentityCheck) error {
	client := k.client(h, "", c.Public, true)
	defer client.CloseIdleConnections()
	_, err := matrix.LookUp(ctx, client, c.ServerName)
	if e, ok := errors.AsType[*matrix.LookUpError](err); ok && e.Err != nil {
		e.Err = tlsHint(e.Err)
	}
	return err
}

// tlsHint names what makes a certificate fail for every client. The names in a
// certificate are whoever's words.
func tlsHint(err error) error {
	if _, ok := errors.AsType[x509.UnknownAuthorityError](err); ok {
		return fmt.Errorf("%w (a private CA: name it with ca_file in verify {}, and in auth {} for the JWT service)", host.RemoteError(err))
	}
	return host.RemoteError(err)
}

func judge(c steps.HTTPCheck, resp *http.Response, body []byte) error {
	if resp.StatusCode != c.Status {
		return fmt.Errorf("%s answers %d, not %d", c.URL, resp.StatusCode, c.Status)
	}
	if !strings.Contains(string(body), c.Body) {
		return fmt.Errorf("%s answers without %q", c.URL, c.Body)
	}
	if c.OneHeader != "" {
		if v := resp.Header.Values(c.OneHeader); len(v) != 1 || v[0] != "*" {
			return fmt.Errorf("%s must send exactly one header %s: *, and sends %d: %q", c.URL, c.OneHeader, len(v), v)
		}
	}
	if len(c.JSONTrue) > 0 {
		var v struct {
			Flags map[string]bool `json:"unstable_features"`
		}
		if err := json.Unmarshal(body, &v); err != nil {
			return fmt.Errorf("%s answers no JSON: %w", c.URL, err)
		}
		for _, flag := range c.JSONTrue {
			if !v.Flags[flag] {
				return fmt.Errorf("%s says that %s is off", c.URL, flag)
			}
		}
	}
	if c.LiveKitURL != "" {
		return announces(c, resp, body)
	}
	return nil
}

// announces wants the well-known to name the JWT service exactly.
func announces(c steps.HTTPCheck, resp *http.Response, body []byte) error {
	var v struct {
		Foci []struct {
			Type string `json:"type"`
			URL  string `json:"livekit_service_url"`
		} `json:"org.matrix.msc4143.rtc_foci"`
	}
	if t := resp.Header.Get("Content-Type"); !strings.HasPrefix(t, "application/json") {
		return fmt.Errorf("%s is sent as %q, not as application/json", c.URL, t)
	}
	if err := json.Unmarshal(body, &v); err != nil {
		return fmt.Errorf("%s is no JSON: %w", c.URL, err)
	}
	for _, f := range v.Foci {
		if f.Type == "livekit" && f.URL == c.LiveKitURL {
			return nil
		}
	}
	return fmt.Errorf("%s does not announce %s", c.URL, c.LiveKitURL)
}

// Once tries c a single time, for status.
func (k Checker) Once(ctx context.Context, h host.Host, c steps.Check) Checked {
	began := time.Now()
	ctx, cancel := context.WithTimeout(ctx, c.Timeout)
	defer cancel()
	out := Checked{Host: h.Name(), Name: c.Name}
	if err := k.try(ctx, h, c); err != nil {
		out.Err = err.Error()
	}
	out.Took = time.Since(began)
	return out
}

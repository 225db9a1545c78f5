package host

import (
	"context"
	"errors"
	"fmt"
	"net"
	"strings"
	"sync"
	"time"

	"golang.org/x/crypto/ssh"
)

// maxHandshakes is how many handshakes are under way at once. sshd begins to
// drop connections at ten that are not yet authenticated (MaxStartups).
const maxHandshakes = 6

// defaultConnectTimeout bounds reaching and authenticating one machine.
const defaultConnectTimeout = 15 * time.Second

// Keep-alives: an answer is asked for every keepAlive, and a connection that
// owes keepAliveMisses of them is dead.
const (
	keepAlive       = 15 * time.Second
	keepAliveMisses = 3
)

// Dialer connects to the hosts of one run. It shares the connection to a jump
// host between those behind it and caps the handshakes under way at once. It is
// safe for concurrent use.
type Dialer struct {
	opts       Options
	settings   sshSettings
	keys       *hostKeys
	handshakes chan struct{}

	mu      sync.Mutex
	jumps   map[string]*jump
	answers map[string]Secret // what a person said last, by prompt
	notes   []string
}

// jump is the shared connection to one jump host.
type jump struct {
	once   sync.Once
	client *ssh.Client
	err    error
}

// NewDialer reads the SSH configuration.
func NewDialer(opts Options) (*Dialer, error) {
	settings, err := loadSSHSettings(opts.SSHConfig)
	if err != nil {
		return nil, err
	}
	if opts.Trace == nil {
		opts.Trace = func(string, ...any) {}
	}
	if ask := opts.Ask; ask != nil {
		var one sync.Mutex // two questions at once would mix on the terminal
		opts.Ask = func(ctx context.Context, prompt string) (Secret, error) {
			one.Lock()
			defer one.Unlock()
			return ask(ctx, prompt)
		}
	}
	d := &Dialer{
		opts:       opts,
		settings:   settings,
		handshakes: make(chan struct{}, maxHandshakes),
		jumps:      map[string]*jump{},
		answers:    map[string]Secret{},
	}
	d.keys = &hostKeys{files: opts.KnownHosts, acceptNew: opts.AcceptNew, note: d.note}
	return d, nil
}

// asker asks a person. With remembered, what they said last to the same prompt
// is taken the first time: it was right when they logged in before.
func (d *Dialer) asker(remembered bool) func(context.Context, string) (Secret, error) {
	if d.opts.Ask == nil {
		return nil
	}
	used := map[string]bool{}
	return func(ctx context.Context, prompt string) (Secret, error) {
		d.mu.Lock()
		a, known := d.answers[prompt]
		d.mu.Unlock()
		if remembered && known && !used[prompt] {
			used[prompt] = true
			return a, nil
		}
		a, err := d.opts.Ask(ctx, prompt)
		if err == nil {
			d.mu.Lock()
			d.answers[prompt] = a
			d.mu.Unlock()
		}
		return a, err
	}
}

// Close ends the shared connections to jump hosts.
func (d *Dialer) Close() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, j := range d.jumps {
		if j.client != nil {
			_ = j.client.Close() // nothing depends on how it ends
		}
	}
	d.jumps = map[string]*jump{}
}

// Notes are what a person should know of the connections made so far: host keys
// that were accepted, and what sudo records. Each is given once.
func (d *Dialer) Notes() []string {
	d.mu.Lock()
	defer d.mu.Unlock()
	out := d.notes
	d.notes = nil
	return out
}

func (d *Dialer) note(text string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.notes = append(d.notes, text)
}

// Dial connects to t and starts its shell channel.
func (d *Dialer) Dial(ctx context.Context, t Target) (Host, error) {
	r, err := d.route(t)
	if err != nil {
		return nil, err
	}
	m := &machine{dialer: d, target: t, route: r}
	if err := m.connect(ctx); err != nil {
		return nil, err
	}
	return m, nil
}

// route is the way to a machine: its jumps in order, then itself.
func (d *Dialer) route(t Target) ([]hop, error) {
	last, err := d.settings.resolve(t.Address, t.User, t.Port, t.Identity)
	if err != nil {
		return nil, err
	}
	via := t.Jump
	if via == "" {
		via = last.jump
	}
	hops, err := d.jumpHops(via, 0)
	if err != nil {
		return nil, err
	}
	return append(hops, last), nil
}

// jumpHops resolves a ProxyJump list. As in OpenSSH the first jump may have
// jumps of its own.
func (d *Dialer) jumpHops(list string, depth int) ([]hop, error) {
	if list == "" || strings.EqualFold(list, "none") {
		return nil, nil
	}
	if depth > 8 {
		return nil, fmt.Errorf("the jumps go round in a circle at %q", list)
	}
	var out []hop
	for i, text := range strings.Split(list, ",") {
		username, name, port, err := parseJump(text)
		if err != nil {
			return nil, err
		}
		h, err := d.settings.resolve(name, username, port, "")
		if err != nil {
			return nil, err
		}
		if i == 0 {
			if out, err = d.jumpHops(h.jump, depth+1); err != nil {
				return nil, err
			}
		}
		out = append(out, h)
	}
	return out, nil
}

// client opens a connection along route, the jumps shared with others; again
// where this run had one before.
func (d *Dialer) client(ctx context.Context, route []hop, timeout time.Duration, again bool) (*ssh.Client, error) {
	if timeout <= 0 {
		timeout = defaultConnectTimeout
	}
	last := route[len(route)-1]
	if len(route) == 1 {
		return d.handshake(ctx, last, timeout, d.asker(again), (&net.Dialer{}).DialContext)
	}
	before, err := d.jump(ctx, route[:len(route)-1], timeout)
	if err != nil {
		return nil, err
	}
	return d.handshake(ctx, last, timeout, d.asker(again), before.DialContext)
}

func (d *Dialer) jump(ctx context.Context, route []hop, timeout time.Duration) (*ssh.Client, error) {
	var key strings.Builder
	for _, h := range route {
		key.WriteString(h.String() + " ")
	}
	d.mu.Lock()
	j := d.jumps[key.String()]
	if j == nil {
		j = &jump{}
		d.jumps[key.String()] = j
	}
	d.mu.Unlock()
	j.once.Do(func() {
		client, err := d.client(ctx, route, timeout, false)
		d.mu.Lock()
		defer d.mu.Unlock()
		j.client, j.err = client, err
		if err != nil {
			j.err = fmt.Errorf("jump host %s: %w", route[len(route)-1].alias, err)
			delete(d.jumps, key.String()) // a later dial may try again
		}
	})
	return j.client, j.err
}

// handshake connects to h by dial and authenticates.
func (d *Dialer) handshake(
	ctx context.Context,
	h hop,
	timeout time.Duration,
	ask func(context.Context, string) (Secret, error),
	dial func(context.Context, string, string) (net.Conn, error),
) (*ssh.Client, error) {
	select {
	case d.handshakes <- struct{}{}:
		defer func() { <-d.handshakes }()
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	judge, algorithms, err := d.keys.config(h)
	if err != nil {
		return nil, err
	}
	methods, offered, closeAgent, err := authMethods(ctx, h, ask)
	if err != nil {
		return nil, err
	}
	defer closeAgent()
	// A person who types a password must not run into the time-out: it bounds
	// reaching the machine, and each silence of its own.
	dialCtx, cancel := context.WithTimeoutCause(ctx, timeout, fmt.Errorf("%s does not answer within %s", h.addr(), timeout))
	defer cancel()
	conn, err := dial(dialCtx, "tcp", h.addr())
	if err != nil {
		if dialCtx.Err() != nil {
			err = context.Cause(dialCtx)
		}
		return nil, fmt.Errorf("connect to %s: %w", h.addr(), err)
	}
	conn = &idleConn{Conn: conn, timeout: max(timeout, 2*time.Minute)}
	stop := context.AfterFunc(ctx, func() { _ = conn.Close() })
	began := time.Now()
	if d.opts.Ask == nil {
		// Jumped connections know no deadlines, so the connection is closed.
		timer := time.AfterFunc(timeout, func() { _ = conn.Close() })
		defer timer.Stop()
	}
	c, chans, reqs, err := ssh.NewClientConn(conn, h.addr(), &ssh.ClientConfig{
		User:              h.user,
		Auth:              methods,
		HostKeyCallback:   judge,
		HostKeyAlgorithms: algorithms,
		ClientVersion:     "SSH-2.0-ecdeploy",
	})
	if !stop() && err == nil {
		_ = c.Close()
		err = context.Cause(ctx)
	}
	if err != nil {
		_ = conn.Close()
		switch {
		case ctx.Err() != nil:
			return nil, context.Cause(ctx)
		case d.opts.Ask == nil && time.Since(began) >= timeout:
			return nil, fmt.Errorf("%s accepts connections, but no SSH login comes about within %s", h.addr(), timeout)
		}
		return nil, fmt.Errorf("log in to %s: %w", h, authFailed(h, *offered, d.opts.Ask != nil, err))
	}
	d.opts.Trace("%s: logged in", h)
	client := ssh.NewClient(c, chans, reqs)
	go keepAlives(client)
	return client, nil
}

// idleConn fails a read that gets nothing for longer than keep-alives allow, so
// that a laptop whose network vanished notices.
type idleConn struct {
	net.Conn
	timeout time.Duration
}

func (c *idleConn) Read(b []byte) (int, error) {
	// Jumped connections have no deadlines; their jump's has one.
	_ = c.SetReadDeadline(time.Now().Add(c.timeout))
	return c.Conn.Read(b)
}

// keepAlives asks for an answer now and then until the connection ends, and ends
// it when too many answers are missing.
func keepAlives(c *ssh.Client) {
	done := make(chan struct{})
	go func() {
		_ = c.Wait() // only that it ended matters
		close(done)
	}()
	answers := make(chan error, keepAliveMisses+1)
	missing := 0
	tick := time.NewTicker(keepAlive)
	defer tick.Stop()
	for {
		select {
		case <-done:
			return
		case err := <-answers:
			if err != nil {
				return
			}
			missing = 0
		case <-tick.C:
			if missing++; missing > keepAliveMisses {
				_ = c.Close() // whoever waits for it is told by that
				return
			}
			go func() {
				_, _, err := c.SendRequest("keepalive@openssh.com", true, nil)
				answers <- err
			}()
		}
	}
}

// errForwarding says that sshd opens no streams to what listens on the host.
var errForwarding = errors.New("sshd does not allow it (AllowTcpForwarding or DisableForwarding in sshd_config)")

// forwardingError explains a channel that sshd does not open.
func forwardingError(what string, err error) error {
	if open, ok := errors.AsType[*ssh.OpenChannelError](err); ok && open.Reason == ssh.Prohibited {
		return fmt.Errorf("%s: %w", what, errForwarding)
	}
	return fmt.Errorf("%s: %w", what, remoteError{err})
}

package host

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"time"

	"al.essio.dev/pkg/shellescape"
	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"

	"github.com/emdecloud/ecdeploy/internal/hint"
)

// machine implements Host over one SSH connection. Reconnect is not for use
// next to other calls.
type machine struct {
	dialer *Dialer
	target Target
	route  []hop
	client *ssh.Client
	shell  *shell
	root   bool // logged in as root: no sudo

	passwordOnce sync.Once
	password     Secret
	passwordErr  error

	sftpMu sync.Mutex
	sftp   *sftp.Client

	dockerMu sync.Mutex
	docker   *engine
}

func (m *machine) connect(ctx context.Context) error {
	client, err := m.dialer.client(ctx, m.route, m.target.ConnectTimeout, m.client != nil)
	if err != nil {
		return err
	}
	m.client, m.root = client, client.User() == "root"
	s, err := m.startShell(ctx, client)
	if err != nil {
		_ = client.Close() // the error says more
		return err
	}
	if m.shell == nil && !m.root && strings.Contains(s.records, "i") {
		m.dialer.note(fmt.Sprintf("%s: sudo records what is sent to it (log_input): secrets go around it, by SFTP as %s; images that come from archives are recorded",
			m.Name(), client.User()))
	}
	m.shell = s
	return nil
}

// startShell starts a driver as root on client.
func (m *machine) startShell(ctx context.Context, client *ssh.Client) (*shell, error) {
	nonce := newNonce()
	st, err := m.start(ctx, client, driverCommand(nonce))
	if err != nil {
		return nil, err
	}
	s := newShell(nonce, st.in, st.out, func() error { return m.explainEnd(st.session.Wait(), st) }, m.trace)
	if m.root {
		return s, nil // its requests may be on their way already
	}
	timer := time.NewTimer(DefaultTimeout)
	defer timer.Stop()
	select {
	case <-s.ready:
	case <-s.gone:
		return nil, s.err
	case <-timer.C:
		return nil, fmt.Errorf("no shell came up within %s: %s", DefaultTimeout, st.stderrText())
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
	if s.uid != "0" {
		return nil, fmt.Errorf("sudo made %s not root but user %.20q", m.client.User(), s.uid)
	}
	if strings.Contains(s.records, "o") {
		return nil, hint.Wrapf(errors.New("sudo on the host records all output (log_output), and so would keep the secrets in the files that are read there"),
			"add to sudoers: Defaults:%s !log_output; or log in as root", m.client.User())
	}
	return s, nil
}

// explainEnd makes an error of how a shell ended, in words that help.
func (m *machine) explainEnd(err error, st *stream) error {
	said := st.stderrText()
	if m.root {
		if said == "" {
			return errChannelLost
		}
		return fmt.Errorf("%w; the host said: %s", errChannelLost, said)
	}
	low := strings.ToLower(said)
	user := m.client.User()
	switch {
	case st.prompts.again():
		return fmt.Errorf("sudo does not take the password of %s", user)
	case strings.Contains(low, "a password is required"), strings.Contains(low, "a terminal is required to read the password"):
		if some := m.someCommands(); some != "" {
			return hint.Wrapf(fmt.Errorf("sudoers allows %s only some commands without a password; ecdeploy needs `sh` as root: %s", user, some),
				"add to sudoers: %s ALL=(root) NOPASSWD: ALL; or, where %s has a password for all, sudo_password { ask = true } to the host block", user, user)
		}
		return hint.Wrap(fmt.Errorf("sudo wants a password of %s", user), "add sudo_password { ask = true } to the host block")
	case strings.Contains(low, "must have a tty"), strings.Contains(low, "you must have a terminal"):
		return hint.Wrapf(errors.New("sudo on the host wants a terminal (requiretty)"), "add to sudoers: Defaults:%s !requiretty", user)
	case strings.Contains(low, "not in the sudoers file"), strings.Contains(low, "may not run sudo"):
		return fmt.Errorf("%s may not use sudo: %s", user, said)
	case strings.Contains(low, "is not allowed to execute"):
		return fmt.Errorf("sudoers allows %s only some commands; ecdeploy needs `sh` as root: %s", user, said)
	case strings.Contains(low, "sudo") && strings.Contains(low, "not found"):
		return hint.New("there is no sudo on the host", "log in as root, or install sudo")
	case strings.Contains(low, "not available"):
		return fmt.Errorf("the account %s has no shell: %s", user, said)
	}
	if said == "" && err == nil {
		return errChannelLost
	}
	if _, ok := errors.AsType[*ssh.ExitMissingError](err); ok || said == "" {
		return fmt.Errorf("%w (%v)", errChannelLost, remoteError{err})
	}
	return fmt.Errorf("%w; the host said: %s", errChannelLost, said)
}

// someCommands are the rules of sudoers that let the user run something without
// a password; "" for none. sudo wants one for all else, whether or not that is
// allowed.
func (m *machine) someCommands() string {
	session, err := m.client.NewSession()
	if err != nil {
		return ""
	}
	defer session.Close()
	defer time.AfterFunc(DefaultTimeout, func() { _ = session.Close() }).Stop()
	var out limited
	session.Stdout = &out
	if err := session.Run(sudo + "-n -l"); err != nil {
		return ""
	}
	var rules []string
	for line := range strings.Lines(Clean(out.String())) {
		if line = strings.TrimSpace(line); strings.HasPrefix(line, "(") && strings.Contains(line, "NOPASSWD") {
			rules = append(rules, line)
		}
	}
	return strings.Join(rules, "; ")
}

func (m *machine) trace(format string, args ...any) {
	m.dialer.opts.Trace("%s: "+format, append([]any{m.target.Name}, args...)...)
}

// Name implements Observer.
func (m *machine) Name() string { return m.target.Name }

// Read implements Observer.
func (m *machine) Read(ctx context.Context, paths ...string) ([]File, error) {
	if len(paths) == 0 {
		return nil, nil
	}
	return readFiles(ctx, paths, func(ctx context.Context, r request) (Result, error) {
		res, err := m.shell.do(ctx, laneQuery, []request{r})
		if err != nil {
			return Result{}, err
		}
		return res[0], nil
	})
}

// Query implements Observer.
func (m *machine) Query(ctx context.Context, cmds ...Cmd) ([]Result, error) {
	if len(cmds) == 0 {
		return nil, nil
	}
	reqs := make([]request, len(cmds))
	for i, c := range cmds {
		reqs[i] = c.request()
	}
	return m.shell.do(ctx, laneQuery, reqs)
}

// request is the script that runs c. Its input stands in a here-document, so
// that it is no argument of any process.
func (c Cmd) request() request {
	script := shellescape.QuoteCommand(c.Argv)
	if c.Stdin != nil {
		script = "base64 -d <<'EC_STDIN' | " + script + "\n" + base64.StdEncoding.EncodeToString(c.Stdin) + "\nEC_STDIN\n"
	}
	return request{script, c.Timeout}
}

// Run implements Host.
func (m *machine) Run(ctx context.Context, script string, timeout time.Duration) (Result, error) {
	res, err := m.shell.do(ctx, laneRun, []request{{script, timeout}})
	if err != nil {
		return Result{}, err
	}
	return res[0], nil
}

// DialContext implements Host.
func (m *machine) DialContext(ctx context.Context, network, addr string) (net.Conn, error) {
	conn, err := m.client.DialContext(ctx, network, addr)
	if err != nil {
		return nil, forwardingError("reach "+addr+" from "+m.Name(), err)
	}
	return conn, nil
}

// Forwards implements Host.
func (m *machine) Forwards(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	// Whether somebody listens there does not matter.
	conn, err := m.DialContext(ctx, "tcp", "127.0.0.1:22")
	if errors.Is(err, errForwarding) {
		return hint.Wrap(err, "ecdeploy asks services that only listen on the host whether they work, through SSH; allow it for its user")
	}
	if err == nil {
		_ = conn.Close() // nothing was said
	}
	return nil
}

// Reconnect implements Host.
func (m *machine) Reconnect(ctx context.Context) error {
	select {
	case <-m.shell.gone:
	default:
		return nil
	}
	m.trace("dials again")
	m.hangUp()
	_ = m.client.Close() // its shell has ended; what else runs over it must end, too
	m.sftp, m.docker = nil, nil
	return m.connect(ctx)
}

// Confirm implements Host.
func (m *machine) Confirm(ctx context.Context) error {
	client, err := m.dialer.client(ctx, m.route, m.target.ConnectTimeout, true)
	if err != nil {
		return fmt.Errorf("a second login does not work: %w", err)
	}
	defer client.Close()
	s, err := m.startShell(ctx, client)
	if err != nil {
		return fmt.Errorf("a second login does not work: %w", err)
	}
	res, err := s.do(ctx, laneRun, []request{{script: "id -u"}})
	if err != nil {
		return fmt.Errorf("a second login does not work: %w", err)
	}
	if got := strings.TrimSpace(string(res[0].Stdout)); got != "0" {
		return fmt.Errorf("a second login is not root but user %q", Clean(got))
	}
	return nil
}

// hangUp ends what runs over the connection.
func (m *machine) hangUp() {
	m.sftpMu.Lock()
	if m.sftp != nil {
		_ = m.sftp.Close() // the connection's end says more
	}
	m.sftpMu.Unlock()
	m.dockerMu.Lock()
	if m.docker != nil {
		_ = m.docker.api.Close() // likewise
	}
	m.dockerMu.Unlock()
}

// Close implements Host.
func (m *machine) Close() error {
	m.hangUp()
	if err := m.client.Close(); err != nil && !errors.Is(err, net.ErrClosed) && !errors.Is(err, io.EOF) {
		return fmt.Errorf("close the connection to %s: %w", m.Name(), err)
	}
	return nil
}

// limited keeps the first bytes that are written to it.
type limited struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (l *limited) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if room := 4<<10 - l.b.Len(); room > 0 {
		l.b.Write(p[:min(room, len(p))])
	}
	return len(p), nil
}

func (l *limited) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.b.String()
}

package host

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"

	"golang.org/x/crypto/ssh"

	"github.com/emdecloud/ecdeploy/internal/hint"
)

// stream is a program that runs as root on the host, with its standard input
// and output.
type stream struct {
	session *ssh.Session
	in      io.WriteCloser
	out     io.Reader
	stderr  *limited
	prompts *promptReader // nil where sudo asks for nothing
}

// stderrText is what the program wrote to standard error, without sudo's prompt.
func (s *stream) stderrText() string {
	text := s.stderr.String()
	if s.prompts != nil {
		text = strings.ReplaceAll(text, s.prompts.prompt, "")
	}
	return Said(text, saidLines)
}

// sudo complains in words that explainEnd knows, not in the host's language.
const sudo = "env LC_ALL=C sudo "

// start runs command, which every shell must read alike, as root.
func (m *machine) start(ctx context.Context, client *ssh.Client, command string) (*stream, error) {
	session, err := client.NewSession()
	if err != nil {
		return nil, fmt.Errorf("open a session: %w", remoteError{err})
	}
	st := &stream{session: session, stderr: &limited{}}
	if st.in, err = session.StdinPipe(); err != nil {
		return nil, fmt.Errorf("open a session: %w", remoteError{err})
	}
	if st.out, err = session.StdoutPipe(); err != nil {
		return nil, fmt.Errorf("open a session: %w", remoteError{err})
	}
	session.Stderr = st.stderr
	switch {
	case m.root:
	case m.target.Become != BecomeSudo:
		_ = session.Close() // never used
		return nil, hint.Wrap(fmt.Errorf("logged in as %s, who is not root", client.User()),
			"set become = \"sudo\" in the host block, or user = \"root\"")
	case m.target.SudoPassword == nil:
		command = sudo + "-n -- " + command
	default:
		secret, err := m.sudoPassword(ctx)
		if err != nil {
			_ = session.Close() // never used
			return nil, err
		}
		st.prompts = &promptReader{next: st.stderr, prompt: newNonce() + "?", answer: func(times int) {
			if times > 1 {
				_ = st.in.Close() // sudo gives up, and its end is explained
				return
			}
			_, _ = io.WriteString(st.in, secret.Reveal()+"\n") // a failure shows as the session's end
		}}
		session.Stderr = st.prompts
		command = fmt.Sprintf("%s-k -S -p '%s' -- %s", sudo, st.prompts.prompt, command)
	}
	if err := session.Start(command); err != nil {
		_ = session.Close() // the error says more
		return nil, fmt.Errorf("start a shell: %w", remoteError{err})
	}
	return st, nil
}

// sudoPassword asks for the password once for all sessions of this host.
func (m *machine) sudoPassword(ctx context.Context) (Secret, error) {
	m.passwordOnce.Do(func() {
		m.password, m.passwordErr = m.target.SudoPassword(ctx)
		if m.passwordErr == nil && strings.ContainsAny(m.password.Reveal(), "\r\n\x00") {
			m.passwordErr = errors.New("the sudo password holds a line break, which sudo cannot read")
		}
	})
	return m.password, m.passwordErr
}

// promptReader watches sudo's standard error for its prompt, which is random:
// the password goes to sudo and to nothing else.
type promptReader struct {
	next   io.Writer
	prompt string
	answer func(times int)

	mu    sync.Mutex
	tail  []byte
	times int
}

func (p *promptReader) Write(b []byte) (int, error) {
	n, err := p.next.Write(b)
	p.mu.Lock()
	defer p.mu.Unlock()
	p.tail = append(p.tail, b...)
	for {
		i := bytes.Index(p.tail, []byte(p.prompt))
		if i < 0 {
			break
		}
		p.tail = p.tail[i+len(p.prompt):]
		p.times++
		p.answer(p.times)
	}
	if keep := len(p.prompt); len(p.tail) > keep {
		p.tail = bytes.Clone(p.tail[len(p.tail)-keep:])
	}
	return n, err
}

// again reports whether sudo asked once more, which means that the password is
// wrong.
func (p *promptReader) again() bool {
	if p == nil {
		return false
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.times > 1
}

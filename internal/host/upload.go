package host

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"github.com/pkg/sftp"
	"golang.org/x/crypto/ssh"
	"golang.org/x/sync/errgroup"
)

// uploads is how many files are under way at once.
const uploads = 16

// Upload implements Host.
func (m *machine) Upload(ctx context.Context, files []Upload) error {
	for _, f := range files {
		if !path.IsAbs(f.Path) || strings.Contains(f.Path, "\x00") {
			return fmt.Errorf("upload %q: this is no absolute path", f.Path)
		}
	}
	if !m.root && strings.Contains(m.shell.records, "i") {
		return m.uploadAround(ctx, files)
	}
	c, err := m.sftpClient(ctx)
	if err != nil {
		return err
	}
	return m.uploadBy(ctx, c, files)
}

// uploadBy writes files through c.
func (m *machine) uploadBy(ctx context.Context, c *sftp.Client, files []Upload) error {
	// The library knows no contexts: closing its channel ends what waits.
	stop := context.AfterFunc(ctx, func() { _ = c.Close() })
	defer stop()
	total := 0
	var g errgroup.Group
	g.SetLimit(uploads)
	for _, f := range files {
		total += len(f.Data)
		g.Go(func() error {
			if err := upload(c, f); err != nil {
				return fmt.Errorf("upload %s: %w", f.Path, remoteError{err})
			}
			return nil
		})
	}
	m.trace("upload of %d files, %d bytes", len(files), total)
	err := g.Wait()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	return err
}

func upload(c *sftp.Client, up Upload) error {
	f, err := c.OpenFile(up.Path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC)
	if err != nil {
		return err
	}
	err = f.Chmod(up.Mode.Perm())
	if err == nil {
		_, err = f.Write(up.Data)
	}
	return errors.Join(err, f.Close())
}

// sftpClient starts SFTP on first use.
func (m *machine) sftpClient(ctx context.Context) (*sftp.Client, error) {
	m.sftpMu.Lock()
	defer m.sftpMu.Unlock()
	if m.sftp != nil {
		return m.sftp, nil
	}
	if m.root {
		// Where sshd has no such subsystem, the program may still be there.
		if c, err := m.sftpSubsystem(ctx); err == nil {
			m.sftp = c
			return c, nil
		}
	}
	st, err := m.startMarked(ctx,
		`for p in /usr/lib/openssh/sftp-server /usr/libexec/openssh/sftp-server /usr/lib/ssh/sftp-server /usr/libexec/sftp-server /usr/lib/sftp-server; do [ -x $p ] && exec $p; done; echo there is no sftp-server on the host >&2; exit 127`)
	if err != nil {
		return nil, fmt.Errorf("start SFTP: %w", err)
	}
	if m.sftp, err = newSFTP(ctx, st.session, st.out, st.in); err != nil {
		return nil, fmt.Errorf("start SFTP: %w", remoteError{err})
	}
	return m.sftp, nil
}

// skipTo reads until a line that says mark and nothing else. No more than a
// part of any other line is kept: a host may never end one.
func skipTo(in *bufio.Reader, mark string) error {
	for whole := true; ; {
		line, err := in.ReadSlice('\n')
		switch {
		case err == nil && whole && string(line) == mark+"\n":
			return nil
		case err != nil && !errors.Is(err, bufio.ErrBufferFull):
			return err
		}
		whole = err == nil
	}
}

// sftpSubsystem starts SFTP as sshd offers it.
func (m *machine) sftpSubsystem(ctx context.Context) (*sftp.Client, error) {
	session, err := m.client.NewSession()
	if err != nil {
		return nil, err
	}
	w, err := session.StdinPipe()
	if err != nil {
		return nil, err
	}
	r, err := session.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := session.RequestSubsystem("sftp"); err != nil {
		_ = session.Close() // never used
		return nil, err
	}
	return newSFTP(ctx, session, r, w)
}

// newSFTP greets an SFTP server, which may never answer.
func newSFTP(ctx context.Context, session *ssh.Session, r io.Reader, w io.WriteCloser) (*sftp.Client, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, DefaultTimeout, fmt.Errorf("no answer within %s", DefaultTimeout))
	defer cancel()
	stop := context.AfterFunc(ctx, func() { _ = session.Close() })
	defer stop()
	c, err := sftp.NewClientPipe(r, w, sftp.UseConcurrentWrites(true))
	if err != nil && ctx.Err() != nil {
		err = context.Cause(ctx)
	}
	return c, err
}

// startMarked runs sh text as root and returns once it runs: what a login
// script or sudo printed before is dropped.
func (m *machine) startMarked(ctx context.Context, text string) (*stream, error) {
	nonce := newNonce()
	st, err := m.start(ctx, m.client, `sh -c 'echo `+nonce+`; `+text+`'`)
	if err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- st.session.Wait() }()
	in := bufio.NewReader(st.out)
	marked := make(chan error, 1)
	go func() { marked <- skipTo(in, nonce) }()
	ctx, cancel := context.WithTimeout(ctx, DefaultTimeout)
	defer cancel()
	select {
	case err := <-marked:
		if err == nil {
			st.out = in
			return st, nil
		}
		select {
		case err := <-ended:
			return nil, m.explainEnd(err, st)
		case <-ctx.Done(): // it says nothing more, and does not end
			_ = st.session.Close()
			return nil, context.Cause(ctx)
		}
	case <-ctx.Done():
		_ = st.session.Close() // nobody reads it any more
		return nil, context.Cause(ctx)
	}
}

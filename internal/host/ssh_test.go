package host

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"
)

// server is an sshd of this machine, on loopback, with keys of its own, that
// lets the user of the test in.
type server struct {
	port int
	dir  string
}

// startServer starts sshd with extra lines of configuration.
func startServer(t *testing.T, config ...string) *server {
	t.Helper()
	sshd, err := exec.LookPath("/usr/sbin/sshd")
	if err != nil {
		t.Skip("no sshd here: scripts/lab tools installs it")
	}
	s := &server{dir: t.TempDir()}
	if err := os.Chmod(s.dir, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"ed25519", "ecdsa"} {
		keygen(t, "-t", kind, "-N", "", "-f", s.path("host_"+kind))
	}
	keygen(t, "-t", "ed25519", "-N", "", "-f", s.path("id"))
	copyFile(t, s.path("id.pub"), s.path("authorized"))
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s.port = l.Addr().(*net.TCPAddr).Port
	l.Close()
	lines := append([]string{
		fmt.Sprintf("Port %d", s.port), "ListenAddress 127.0.0.1", "PidFile none", "StrictModes no", "UsePAM no",
		"AuthorizedKeysFile " + s.path("authorized"), "PasswordAuthentication no", "KbdInteractiveAuthentication no", "PermitRootLogin yes",
		"HostKey " + s.path("host_ed25519"), "HostKey " + s.path("host_ecdsa"), "Subsystem sftp internal-sftp",
	}, config...)
	write(t, s.path("sshd_config"), strings.Join(lines, "\n")+"\n")
	if os.Getuid() == 0 {
		_ = os.MkdirAll("/run/sshd", 0o755) // sshd as root wants its privilege separation folder; it says so itself if this fails
	}
	cmd := exec.Command(sshd, "-D", "-e", "-f", s.path("sshd_config"))
	log, err := os.Create(s.path("log"))
	if err != nil {
		t.Fatal(err)
	}
	cmd.Stderr = log
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		cmd.Process.Kill()
		cmd.Wait()
		log.Close()
		if t.Failed() {
			b, _ := os.ReadFile(s.path("log"))
			t.Logf("sshd:\n%s", b)
		}
	})
	for end := time.Now().Add(10 * time.Second); ; time.Sleep(20 * time.Millisecond) {
		if c, err := net.Dial("tcp", s.addr()); err == nil {
			c.Close()
			return s
		}
		if time.Now().After(end) {
			t.Fatal("sshd does not come up")
		}
	}
}

func (s *server) path(name string) string { return filepath.Join(s.dir, name) }
func (s *server) addr() string            { return netJoin("127.0.0.1", s.port) }

// known is a known_hosts line for one of the server's keys.
func (s *server) known(t *testing.T, kind string) string {
	t.Helper()
	b, err := os.ReadFile(s.path("host_" + kind + ".pub"))
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("[127.0.0.1]:%d %s", s.port, b)
}

func (s *server) target() Target {
	return Target{Name: "test", Address: "127.0.0.1", Port: s.port, Identity: s.path("id"), Become: BecomeSudo}
}

func keygen(t *testing.T, args ...string) {
	t.Helper()
	if out, err := exec.Command("ssh-keygen", append([]string{"-q"}, args...)...).CombinedOutput(); err != nil {
		t.Fatalf("ssh-keygen %v: %v\n%s", args, err, out)
	}
}

func copyFile(t *testing.T, from, to string) {
	t.Helper()
	b, err := os.ReadFile(from)
	if err != nil {
		t.Fatal(err)
	}
	write(t, to, string(b))
}

func write(t *testing.T, path, text string) string {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// login dials, runs one command as root if the test may, and hangs up.
func login(t *testing.T, opts Options, target Target) error {
	t.Helper()
	t.Setenv("HOME", t.TempDir()) // no settings of whoever runs the test
	if opts.SSHConfig == "" {
		opts.SSHConfig = os.DevNull
	}
	d, err := NewDialer(opts)
	if err != nil {
		return err
	}
	defer d.Close()
	route, err := d.route(target)
	if err != nil {
		return err
	}
	c, err := d.client(t.Context(), route, target.ConnectTimeout, false)
	if err != nil {
		return err
	}
	defer c.Close()
	session, err := c.NewSession()
	if err != nil {
		return err
	}
	out, err := session.Output("echo in")
	if err == nil && string(out) != "in\n" {
		err = fmt.Errorf("answer %q", out)
	}
	return err
}

// wantError wants every part in the error's text.
func wantError(t *testing.T, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	for _, p := range parts {
		if !strings.Contains(err.Error(), p) {
			t.Errorf("the error has no %q:\n%v", p, err)
		}
	}
}

func readFingerprint(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil {
		t.Fatal(err)
	}
	return ssh.FingerprintSHA256(pub)
}

func TestHostKeys(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startServer(t)
	known := func(t *testing.T, lines string) Options {
		return Options{KnownHosts: []string{write(t, filepath.Join(t.TempDir(), "known_hosts"), lines)}}
	}
	t.Run("known", func(t *testing.T) {
		if err := login(t, known(t, s.known(t, "ed25519")), s.target()); err != nil {
			t.Error(err)
		}
	})
	t.Run("only the other type known", func(t *testing.T) {
		if err := login(t, known(t, s.known(t, "ecdsa")), s.target()); err != nil {
			t.Error(err)
		}
	})
	t.Run("next to lines that nobody understands", func(t *testing.T) {
		if err := login(t, known(t, "# old\nh ssh-newest AAAA\n\x00garbage\n"+s.known(t, "ed25519")), s.target()); err != nil {
			t.Error(err)
		}
	})
	t.Run("hashed", func(t *testing.T) {
		o := known(t, s.known(t, "ed25519"))
		keygen(t, "-H", "-f", o.KnownHosts[0])
		if err := login(t, o, s.target()); err != nil {
			t.Error(err)
		}
	})
	t.Run("unknown", func(t *testing.T) {
		wantError(t, login(t, known(t, ""), s.target()), readFingerprint(t, s.path("host_ed25519.pub")), "--accept-new")
	})
	t.Run("accept new", func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "new", "known_hosts")
		o := Options{KnownHosts: []string{file}, AcceptNew: true}
		if err := login(t, o, s.target()); err != nil {
			t.Fatal(err)
		}
		o.AcceptNew = false
		if err := login(t, o, s.target()); err != nil {
			t.Errorf("the accepted key is not known: %v", err)
		}
	})
	t.Run("accept new keeps what is there", func(t *testing.T) {
		o := known(t, "other "+strings.SplitN(s.known(t, "ecdsa"), " ", 2)[1][:20])
		o.AcceptNew = true
		if err := login(t, o, s.target()); err != nil {
			t.Fatal(err)
		}
		b, err := os.ReadFile(o.KnownHosts[0])
		if err != nil || !strings.HasPrefix(string(b), "other ecdsa-sha2-nistp256 \n[127") {
			t.Errorf("known_hosts is now %q (%v)", b, err)
		}
	})
	t.Run("changed", func(t *testing.T) {
		other := startServer(t)
		line := strings.Replace(other.known(t, "ed25519"), fmt.Sprint(other.port), fmt.Sprint(s.port), 1)
		o := known(t, "\n"+line)
		o.AcceptNew = true // never accepts a changed one
		wantError(t, login(t, o, s.target()), readFingerprint(t, s.path("host_ed25519.pub")), readFingerprint(t, other.path("host_ed25519.pub")), o.KnownHosts[0]+":2", "ssh-keygen -f")
	})
	t.Run("revoked", func(t *testing.T) {
		wantError(t, login(t, known(t, "@revoked "+s.known(t, "ed25519")), s.target()), "revoked")
	})
	t.Run("signed by an authority", func(t *testing.T) {
		ca := filepath.Join(t.TempDir(), "ca")
		keygen(t, "-t", "ed25519", "-N", "", "-f", ca)
		keygen(t, "-s", ca, "-I", "host", "-h", "-n", "127.0.0.1", s.path("host_ed25519.pub"))
		c := startServer(t, "HostKey "+s.path("host_ed25519"), "HostCertificate "+s.path("host_ed25519-cert.pub"))
		pub, err := os.ReadFile(ca + ".pub")
		if err != nil {
			t.Fatal(err)
		}
		if err := login(t, known(t, fmt.Sprintf("@cert-authority [127.0.0.1]:%d %s", c.port, pub)), c.target()); err != nil {
			t.Error(err)
		}
	})
}

func TestLogins(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startServer(t)
	opts := Options{KnownHosts: []string{write(t, s.path("known_hosts"), s.known(t, "ed25519"))}}
	t.Run("no key fits", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "other")
		keygen(t, "-t", "ed25519", "-N", "", "-f", other)
		target := s.target()
		target.Identity = other
		wantError(t, login(t, opts, target), "does not let", readFingerprint(t, other+".pub"), "identity")
	})
	t.Run("a key that is not there", func(t *testing.T) {
		target := s.target()
		target.Identity = "/nowhere/id"
		wantError(t, login(t, opts, target), "no key at /nowhere/id")
	})
	t.Run("pass phrase", func(t *testing.T) {
		locked := filepath.Join(t.TempDir(), "locked")
		keygen(t, "-t", "ed25519", "-N", "the phrase", "-f", locked)
		copyFile(t, locked+".pub", s.path("authorized"))
		defer copyFile(t, s.path("id.pub"), s.path("authorized"))
		target := s.target()
		target.Identity = locked
		wantError(t, login(t, opts, target), "pass phrase", "ssh-add")
		asked := 0
		o := opts
		o.Ask = func(context.Context, string) (Secret, error) {
			asked++
			return NewSecret([]string{"wrong", "the phrase"}[asked-1]), nil
		}
		if err := login(t, o, target); err != nil || asked != 2 {
			t.Errorf("asked %d times: %v", asked, err)
		}
	})
	t.Run("agent", func(t *testing.T) {
		t.Setenv("SSH_AUTH_SOCK", startAgent(t, s.path("id")))
		target := s.target()
		target.Identity = ""
		if err := login(t, opts, target); err != nil {
			t.Error(err)
		}
	})
	t.Run("certificate", func(t *testing.T) {
		dir := t.TempDir()
		keygen(t, "-t", "ed25519", "-N", "", "-f", dir+"/ca")
		keygen(t, "-t", "ed25519", "-N", "", "-f", dir+"/id")
		me, err := user.Current()
		if err != nil {
			t.Fatal(err)
		}
		keygen(t, "-s", dir+"/ca", "-I", "me", "-n", me.Username, dir+"/id.pub")
		c := startServer(t, "TrustedUserCAKeys "+dir+"/ca.pub")
		target := c.target()
		target.Identity = dir + "/id"
		o := Options{KnownHosts: []string{write(t, c.path("known_hosts"), c.known(t, "ed25519"))}}
		if err := login(t, o, target); err != nil {
			t.Error(err)
		}
		if err := os.Rename(dir+"/id-cert.pub", dir+"/elsewhere.pub"); err != nil {
			t.Fatal(err)
		}
		wantError(t, login(t, o, target), "does not let")
		o.SSHConfig = write(t, dir+"/config", "Host 127.0.0.1\n  CertificateFile "+dir+"/elsewhere.pub\n")
		if err := login(t, o, target); err != nil {
			t.Errorf("the certificate that ssh_config names: %v", err)
		}
		t.Setenv("SSH_AUTH_SOCK", startAgent(t, dir+"/id"))
		target.Identity = ""
		if err := login(t, o, target); err != nil {
			t.Errorf("the certificate of a key that the agent holds: %v", err)
		}
	})
	t.Run("nobody listens", func(t *testing.T) {
		target := s.target()
		target.Port = 1
		wantError(t, login(t, opts, target), "127.0.0.1:1", "refused")
	})
	t.Run("something else listens", func(t *testing.T) {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		target := s.target()
		target.Port, target.ConnectTimeout = l.Addr().(*net.TCPAddr).Port, 300*time.Millisecond
		wantError(t, login(t, opts, target), "no SSH login")
	})
}

// startAgent serves one key as ssh-agent does.
func startAgent(t *testing.T, file string) string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	key, err := ssh.ParseRawPrivateKey(b)
	if err != nil {
		t.Fatal(err)
	}
	ring := agent.NewKeyring()
	_, other, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for _, k := range []any{&other, key} {
		if err := ring.Add(agent.AddedKey{PrivateKey: k}); err != nil {
			t.Fatal(err)
		}
	}
	l, err := net.Listen("unix", filepath.Join(t.TempDir(), "agent"))
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			agent.ServeAgent(ring, c)
			c.Close()
		}
	}()
	t.Cleanup(func() { l.Close(); <-done })
	return l.Addr().String()
}

func TestSSHConfig(t *testing.T) {
	t.Setenv("SSH_AUTH_SOCK", "")
	jump, inner := startServer(t), startServer(t)
	dir := t.TempDir()
	known := write(t, dir+"/known_hosts", jump.known(t, "ed25519")+inner.known(t, "ed25519"))
	config := write(t, dir+"/config", "Include "+dir+"/more\nHost bastion\n  HostName 127.0.0.1\n  Port "+fmt.Sprint(jump.port)+"\n  IdentityFile "+jump.path("id")+"\n")
	write(t, dir+"/more", "Host server\n  HostName 127.0.0.1\n  Port "+fmt.Sprint(inner.port)+"\n  IdentityFile "+inner.path("id")+"\n  ProxyJump bastion\n  UserKnownHostsFile "+known+"\nHost bastion\n  UserKnownHostsFile "+known+"\n")
	if err := login(t, Options{SSHConfig: config}, Target{Address: "server"}); err != nil {
		t.Errorf("by an alias, through a jump: %v", err)
	}
	if b, _ := os.ReadFile(jump.path("log")); !strings.Contains(string(b), "Accepted publickey") {
		t.Error("the jump host was not used")
	}
	for _, bad := range []struct{ config, want string }{
		{"Match exec true\n  User x\n", "Match"},
		{"Host server\n  ProxyCommand nc %h %p\n", "ProxyJump"},
		{"Host server\n  Port many\n", "no port"},
		{"Host server\n  ProxyJump server\n", "circle"},
	} {
		c := write(t, dir+"/bad", bad.config)
		wantError(t, login(t, Options{SSHConfig: c}, Target{Address: "server"}), bad.want)
	}
	if _, err := NewDialer(Options{SSHConfig: dir + "/none"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a configuration that was named and is not there: %v", err)
	}
}

func TestParseJump(t *testing.T) {
	for text, want := range map[string]string{
		"h": "|h|0", "u@h": "u|h|0", "u@h:2222": "u|h|2222", "[::1]:22": "|::1|22", "::1": "|::1|0", "ssh://u@h:1": "u|h|1",
		"h:0": "error", "h:x": "error", "u@": "error", "": "error",
	} {
		u, h, p, err := parseJump(text)
		got := fmt.Sprintf("%s|%s|%d", u, h, p)
		if err != nil {
			got = "error"
		}
		if got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}

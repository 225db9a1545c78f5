package host

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
	"unicode"

	"golang.org/x/crypto/ssh"
)

// What a host or a file says, whatever it is, ends in a result or in an error:
// never a panic, never a wait without end, never more than was allowed.

func FuzzShellChannel(f *testing.F) {
	for _, text := range []string{
		"", "a banner\n", "n ready 0\n", "n ready \x1b[31m0\nn ready 1\n",
		"n 1 o YWJj\nn 1 e ZGVm\nn 1 r 0\nn 2 r 3\nn 3 r 124\n",
		"n 3 r 0\nn 2 r 0\nn 1 r 0\n", "n 1 r 0\nn 1 r 0\nn 1 o YQ==\n",
		"n 1 o !\n", "n 1 o YWJ\n", "n 1 r -1\n", "n 1 r 256\n", "n 1 r 99999999999999999999\n", "n 1 r\n", "n 1 r 0 0\n",
		"n 0 r 0\nn -1 r 0\nn 4 r 0\nn 99999999999999999999 r 0\nn x r 0\n", "n 1 x y\n", "n 1 o\n", "n 1\n", "n \n", "n 1 o YQ==", "N 1 r 0\n",
		"n 1 o " + strings.Repeat("YWJj", 1000) + "\nn 1 r 0\n", "n 1 o " + strings.Repeat("YWJj", 20000) + "\n", strings.Repeat("x", 1<<17), "\r\n\x00\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, said []byte) {
		r, w := io.Pipe()
		s := newShell("n", io.Discard, r, func() error { return errChannelLost }, func(string, ...any) {})
		go func() {
			for s.asked() < 3 {
				time.Sleep(10 * time.Microsecond)
			}
			_, _ = w.Write(said)
			w.Close()
		}()
		got, err := s.do(context.Background(), laneQuery, []request{{script: "a"}, {script: "b"}, {script: "c"}})
		r.Close()
		<-s.gone
		switch {
		case err == nil && len(got) != 3:
			t.Errorf("%d answers", len(got))
		case err != nil && !errors.Is(err, errGarbled) && !errors.Is(err, errChannelLost) && !strings.Contains(err.Error(), "was killed"):
			t.Errorf("error %v", err)
		case err != nil && isUnfit(err.Error()):
			t.Errorf("error %q", err)
		}
		for _, r := range got {
			if r.Code < 0 || r.Code > 255 || len(r.Stdout)+len(r.Stderr) > len(said) {
				t.Errorf("%+v", r)
			}
		}
	})
}

// asked is how many requests were made so far.
func (s *shell) asked() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last
}

// isUnfit reports whether a terminal would do something else than show s.
func isUnfit(s string) bool {
	return strings.ContainsFunc(s, func(r rune) bool {
		return r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
	})
}

func FuzzReadAnswer(f *testing.F) {
	b := func(s string) string { return base64.StdEncoding.EncodeToString([]byte(s)) }
	plain := fmt.Sprintf("i 0\np %s\nr %s\ns 81a4 0 0\nd %s\n.\n", b("/a"), b("/a"), b("text"))
	missing := fmt.Sprintf("i 1\np %s\nr %s\n.\n", b("/b*"), b("/b*"))
	for _, text := range []string{
		plain + missing, plain, missing, missing + plain, plain + plain + missing, plain + strings.Repeat(missing, 3), "", ".\n", ".\n.\n", strings.Repeat(".\n", maxMatches+2),
		"i 99\n.\n", "i -1\n.\n", "i x\n.\n", "p !\n.\n", "i 0\np " + b("/b") + "\n.\n" + missing, "s zz\n.\n", "s ffffffff -1 99999999999999999999\n.\n", "u \x1b[2J\n.\n", "x \x1b]0;x\x07\n.\n", "n " + b("///a//..//\n") + "\n.\n",
	} {
		f.Add([]byte(text))
	}
	paths := []string{"/a", "/b*"}
	f.Fuzz(func(t *testing.T, said []byte) {
		files, err := readFiles(t.Context(), paths, func(context.Context, request) (Result, error) { return Result{Stdout: said}, nil })
		if err != nil {
			if !errors.Is(err, errGarbled) || isUnfit(err.Error()) {
				t.Errorf("error %q", err)
			}
			return
		}
		if len(files) < 2 || len(files) > maxMatches || files[0].Path != "/a" {
			t.Errorf("%d files, the first is %+v", len(files), files[0])
		}
		for _, f := range files {
			if isUnfit(f.Err) {
				t.Errorf("%+v", f)
			}
		}
	})
}

func FuzzClean(f *testing.F) {
	for _, text := range []string{"", "a\tb\nc\r\n", "\x1b[31mred\x1b[0m", "\x1b]52;c;YQ==\x07x", "\x1b]0;t\x1b\\x", "\x1b\x1b[31m[31mx", "\x9b31m", "\u009b31m", "a\u202eb\u2066c", "\x1bP0;1|17/ab\x1b\\", "\x1b]8;;http://x\x07l\x1b]8;;\x07", "\xff\xfe", "\x1b", "\x1b[", "\x1b[?25l\a\b\v\x7f"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		got := Clean(text)
		if isUnfit(got) || Clean(got) != got {
			t.Errorf("%q becomes %q", text, got)
		}
	})
}

// Whatever known_hosts holds next to it, a key that it names is known: OpenSSH
// passes over lines that it does not understand, and so must we.
func FuzzKnownHosts(f *testing.F) {
	const key = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIPxiDmcYcLEK+Jc3hnlbuMsk2XhxG4IZLzdzXK7bWN8c"
	for _, text := range []string{
		"", "# c\n\n", "h " + key, "[h]:22,1.2.3.4 " + key + " comment", "|1|c2FsdA==|aGFzaA== " + key, "|1|x " + key, "| " + key, "|2|a|b " + key, "@revoked x " + key, "@cert-authority *.x " + key, "@x h " + key,
		"h ssh-newest AAAA", "h ssh-rsa AAAA", "h", "h " + key + "\r\n", "\x00\n", "*?!h,,[ " + key, "!h " + key, "h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIA==", strings.Repeat("h,", 9000) + "h " + key,
	} {
		f.Add([]byte(text))
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey([]byte(key))
	if err != nil {
		f.Fatal(err)
	}
	h := hop{host: "good.example", port: 22}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Contains(text, []byte("revoked")) {
			return // it may be this very key
		}
		t.Setenv("TMPDIR", t.TempDir())
		file := filepath.Join(t.TempDir(), "known_hosts")
		if err := os.WriteFile(file, append(bytes.Clone(text), "\ngood.example "+key+"\n"...), 0o600); err != nil {
			t.Fatal(err)
		}
		k := &hostKeys{files: []string{file}}
		judge, algorithms, err := k.config(h)
		if err != nil {
			t.Fatal(err)
		}
		if err := judge("", stringAddr("192.0.2.1:22"), pub); err != nil {
			t.Fatal(err)
		}
		if len(algorithms) == 0 {
			t.Error("no algorithms")
		}
		if left, _ := filepath.Glob(filepath.Join(os.TempDir(), "ecdeploy-known-hosts-*")); len(left) > 0 {
			t.Errorf("left behind: %v", left)
		}
	})
}

// stringAddr is a network address as text.
type stringAddr string

func (stringAddr) Network() string  { return "tcp" }
func (a stringAddr) String() string { return string(a) }

func FuzzSSHConfig(f *testing.F) {
	for _, text := range []string{
		"", "Host *\n  User x\n", "Host a\n HostName %h.example\n Port 22\n IdentityFile ~/.ssh/%h%%%d\n ProxyJump b,c@d:2222\n", "Host a\nPort many\n", "Host a\nPort 0\n", "Match all\nUser x\n", "Match exec \"x\"\n",
		"Host \"\n", "Host !a *\n", "User\n", "=\n", "User=x\nUser = y\n", "Host a\r\n User x\r\n", "UserKnownHostsFile a b \"c d\"\n", "ProxyCommand nc %h\n", "ProxyCommand none\n", "IdentityAgent $X\nIdentitiesOnly yes\n", "\x00", "Host a #c\n User \"x\" # c\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		if bytes.Contains(bytes.ToLower(text), []byte("include")) {
			return // other files are not for a fuzzer to choose
		}
		file := filepath.Join(t.TempDir(), "config")
		if err := os.WriteFile(file, text, 0o600); err != nil {
			t.Fatal(err)
		}
		settings, err := loadSSHSettings(file)
		if err != nil {
			if !strings.Contains(err.Error(), file) {
				t.Errorf("the error does not name the file: %v", err)
			}
			return
		}
		h, err := settings.resolve("a", "", 0, "")
		if err != nil {
			return
		}
		if h.port < 1 || h.port > 65535 || h.user == "" || h.host == "" {
			t.Errorf("%+v", h)
		}
		d := &Dialer{settings: settings}
		if hops, err := d.route(Target{Address: "a"}); err == nil && len(hops) == 0 {
			t.Error("a way of no hops")
		}
	})
}

func FuzzParseJump(f *testing.F) {
	for _, text := range []string{"", "h", "u@h:22", "[::1]:22", "::1", "ssh://u@[::1]:2", "@", ":", "u@@h", "[", "]", "h:99999"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, name, port, err := parseJump(text); err == nil && (name == "" || port < 0 || port > 65535) {
			t.Errorf("%q: %q %d", text, name, port)
		}
	})
}

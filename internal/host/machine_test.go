package host

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"time"
)

// The whole of a Host over sshd needs root on this machine, as CI has it.
func TestMachine(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("logs in as root")
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	s := startServer(t)
	t.Setenv("HOME", t.TempDir())
	d, err := NewDialer(Options{SSHConfig: os.DevNull, KnownHosts: []string{write(t, s.path("known_hosts"), s.known(t, "ed25519"))}, Trace: t.Logf})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	h, err := d.Dial(t.Context(), s.target())
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	dir := t.TempDir()
	files := []Upload{{dir + "/secret", 0o600, []byte("s3cret")}, {dir + "/b$(id)'", 0o644, nil}}
	if err := h.Upload(t.Context(), files); err != nil {
		t.Fatal(err)
	}
	got, err := h.Read(t.Context(), dir+"/*")
	if err != nil || len(got) != 2 || string(got[1].Data) != "s3cret" || got[1].Mode != 0o600 || got[0].Path != files[1].Path || got[0].Mode != 0o644 {
		t.Errorf("after the upload: %+v, %v", got, err)
	}
	if res, err := h.Run(t.Context(), "echo $((1+1)); exit 7", 0); err != nil || res.Code != 7 || string(res.Stdout) != "2\n" {
		t.Errorf("run: %+v, %v", res, err)
	}
	if err := h.Confirm(t.Context()); err != nil {
		t.Error(err)
	}
	c, err := h.DialContext(t.Context(), "tcp", s.addr())
	if err != nil {
		t.Fatal(err)
	}
	b := make([]byte, 4)
	if _, err := c.Read(b); err != nil || string(b) != "SSH-" {
		t.Errorf("through the host: %q, %v", b, err)
	}
	c.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if _, err := h.Run(ctx, "sleep 2", 0); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("a run past its context: %v", err)
	}
	h.Close()
	if _, err := h.Query(t.Context(), Sh("true")); err == nil {
		t.Error("no error of a closed connection")
	}
}

// A second login asks for nothing that was answered at the first.
func TestConfirmAsksNothing(t *testing.T) {
	if os.Getuid() != 0 {
		t.Skip("logs in as root")
	}
	t.Setenv("SSH_AUTH_SOCK", "")
	t.Setenv("HOME", t.TempDir())
	s := startServer(t)
	locked := filepath.Join(t.TempDir(), "locked")
	keygen(t, "-t", "ed25519", "-N", "the phrase", "-f", locked)
	copyFile(t, locked+".pub", s.path("authorized"))
	asked := 0
	d, err := NewDialer(Options{SSHConfig: os.DevNull, KnownHosts: []string{write(t, s.path("known_hosts"), s.known(t, "ed25519"))},
		Ask: func(context.Context, string) (Secret, error) { asked++; return NewSecret("the phrase"), nil }})
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	target := s.target()
	target.Identity = locked
	h, err := d.Dial(t.Context(), target)
	if err != nil {
		t.Fatal(err)
	}
	defer h.Close()
	if err := h.Confirm(t.Context()); err != nil || asked != 1 {
		t.Errorf("asked %d times: %v", asked, err)
	}
	// And one whose connection was lost dials again by itself.
	h.(*machine).client.Close()
	<-h.(*machine).shell.gone
	if err := h.Reconnect(t.Context()); err != nil || asked != 1 {
		t.Fatalf("asked %d times: %v", asked, err)
	}
	if res, err := h.Run(t.Context(), "echo again", 0); err != nil || string(res.Stdout) != "again\n" {
		t.Errorf("after dialling again: %+v, %v", res, err)
	}
}

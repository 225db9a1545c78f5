// Package local makes a host of the machine that a test runs on: SSH within the
// process, a real sh, and programs of the test's own before those of the machine.
// It is as fast as a host can be, and what it is asked costs what it costs
// elsewhere. It is not root: use it for questions only.
package local

import (
	"crypto/ed25519"
	"crypto/rand"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"golang.org/x/crypto/ssh"
)

// Host is a host on loopback that lets everybody in.
type Host struct {
	Port int

	programs string         // a folder
	clients  sync.WaitGroup // connections and their sessions
}

// Start serves a host until the test ends; its clients have to be gone by then.
// programs are sh texts by the names that they are called by.
func Start(t testing.TB, programs map[string]string) *Host {
	t.Helper()
	h := &Host{programs: t.TempDir()}
	for name, text := range programs {
		if err := os.WriteFile(filepath.Join(h.programs, name), []byte("#!/bin/sh\n"+text+"\n"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	signer, err := ssh.NewSignerFromKey(key)
	if err != nil {
		t.Fatal(err)
	}
	config := &ssh.ServerConfig{NoClientAuth: true}
	config.AddHostKey(signer)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h.Port = l.Addr().(*net.TCPAddr).Port
	var accepting sync.WaitGroup
	accepting.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			h.clients.Go(func() { h.serve(c, config) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		accepting.Wait()
		h.clients.Wait()
	})
	return h
}

// serve answers one connection until it ends.
func (h *Host) serve(c net.Conn, config *ssh.ServerConfig) {
	defer c.Close()
	_, channels, requests, err := ssh.NewServerConn(c, config)
	if err != nil {
		return
	}
	go ssh.DiscardRequests(requests)
	for n := range channels {
		ch, requests, err := n.Accept()
		if err != nil {
			return
		}
		h.clients.Go(func() { h.session(ch, requests) })
	}
}

// session runs the one command of a channel.
func (h *Host) session(ch ssh.Channel, requests <-chan *ssh.Request) {
	defer ch.Close()
	for r := range requests {
		var asked struct{ Command string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &asked) != nil {
			_ = r.Reply(false, nil) // the client sees what is left of it
			continue
		}
		_ = r.Reply(true, nil) // likewise
		go ssh.DiscardRequests(requests)
		cmd := exec.Command("/bin/sh", "-c", asked.Command)
		cmd.Env = append(os.Environ(), "PATH="+h.programs+":"+os.Getenv("PATH"))
		cmd.Stdin, cmd.Stdout, cmd.Stderr = ch, ch, ch.Stderr()
		status := uint32(0)
		if cmd.Run() != nil {
			status = uint32(max(cmd.ProcessState.ExitCode(), 1))
		}
		_, _ = ch.SendRequest("exit-status", false, ssh.Marshal(struct{ Status uint32 }{status})) // likewise
		return
	}
}

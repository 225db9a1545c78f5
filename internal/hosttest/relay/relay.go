// Package relay makes a connection to a lab host as slow as one from a train:
// every byte takes its time, and as many as one likes are under way at once. So
// what a run takes longer by is its round trips, whatever else the machine does.
package relay

import (
	"net"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Relay is a line to one host.
type Relay struct {
	Port int // on loopback
	mu   sync.Mutex
	open []net.Conn
	hole atomic.Bool
}

// Swallow lets nothing through any more, in neither direction, and ends
// nothing: a black hole, until Cut.
func (r *Relay) Swallow() { r.hole.Store(true) }

// Cut ends the connections of this moment; later ones are passed on again.
func (r *Relay) Cut() {
	r.hole.Store(false)
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, c := range r.open {
		c.Close()
	}
	r.open = nil
}

// Listen accepts connections on loopback and passes them on to target, each
// byte oneWay later, until the test ends.
func Listen(t testing.TB, target string, oneWay time.Duration) *Relay {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	r := &Relay{Port: l.Addr().(*net.TCPAddr).Port}
	var all sync.WaitGroup
	all.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := net.Dial("tcp", target)
			if err != nil {
				near.Close()
				continue
			}
			r.mu.Lock()
			r.open = append(r.open, near, far)
			r.mu.Unlock()
			all.Go(func() { r.pass(far, near, oneWay) })
			all.Go(func() { r.pass(near, far, oneWay) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		r.Cut()
		all.Wait()
	})
	return r
}

// chunk is what was read at one moment.
type chunk struct {
	data []byte
	due  time.Time
}

// pass copies src to dst, each chunk delayed.
func (r *Relay) pass(dst, src net.Conn, delay time.Duration) {
	chunks := make(chan chunk, 1<<16)
	go func() {
		defer close(chunks)
		for {
			b := make([]byte, 64<<10)
			n, err := src.Read(b)
			if n > 0 {
				chunks <- chunk{b[:n], time.Now().Add(delay)}
			}
			if err != nil {
				return
			}
		}
	}()
	for c := range chunks {
		time.Sleep(time.Until(c.due))
		if r.hole.Load() {
			continue
		}
		if _, err := dst.Write(c.data); err != nil {
			break
		}
	}
	dst.Close()
	for range chunks { // until the reader sees that src is closed, too
	}
}

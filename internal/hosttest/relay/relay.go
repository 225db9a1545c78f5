// Package relay makes a connection to a lab host as slow as one from a train:
// every byte takes its time, and as many as one likes are under way at once. So
// what a run takes longer by is its round trips, whatever else the machine does.
package relay

import (
	"net"
	"sync"
	"testing"
	"time"
)

// Listen accepts connections on loopback and passes them on to target, each
// byte oneWay later, until the test ends. It returns the port.
func Listen(t testing.TB, target string, oneWay time.Duration) int {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var all sync.WaitGroup
	var mu sync.Mutex
	var open []net.Conn
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
			mu.Lock()
			open = append(open, near, far)
			mu.Unlock()
			all.Go(func() { pass(far, near, oneWay) })
			all.Go(func() { pass(near, far, oneWay) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		mu.Lock()
		for _, c := range open {
			c.Close()
		}
		mu.Unlock()
		all.Wait()
	})
	return l.Addr().(*net.TCPAddr).Port
}

// chunk is what was read at one moment.
type chunk struct {
	data []byte
	due  time.Time
}

// pass copies src to dst, each chunk delayed.
func pass(dst, src net.Conn, delay time.Duration) {
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
		if _, err := dst.Write(c.data); err != nil {
			break
		}
	}
	dst.Close()
	for range chunks { // until the reader sees that src is closed, too
	}
}

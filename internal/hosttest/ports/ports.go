// Package ports picks ports for the servers that a test starts by their number.
package ports

import (
	"fmt"
	"math/rand/v2"
	"net"
	"runtime"
	"testing"
)

// Linux gives ports from 32768 on to whoever connects or listens without a wish
// of its own: one that was free a moment ago is soon somebody's.
const (
	first = 20000
	count = 10000
)

// Free is a port of this machine where nobody listens, over TCP or UDP, on any
// address. No connection is given it, and no other test gets it, in whatever
// process, until this one has ended.
func Free(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := first + rand.IntN(count)
		if held := hold(t, port); held && unused(port) {
			return port
		}
	}
	t.Fatalf("no free port from %d to %d", first, first+count-1)
	return 0
}

// hold keeps a name that only one process can have.
func hold(t testing.TB, port int) bool {
	if runtime.GOOS != "linux" {
		return true
	}
	l, err := net.Listen("unix", fmt.Sprintf("@ecdeploy-test-port-%d", port))
	if err != nil {
		return false
	}
	t.Cleanup(func() { l.Close() })
	return true
}

func unused(port int) bool {
	addr := fmt.Sprintf(":%d", port)
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return false
	}
	defer l.Close()
	p, err := net.ListenPacket("udp", addr)
	if err != nil {
		return false
	}
	p.Close()
	return true
}

package ports

import (
	"fmt"
	"net"
	"testing"
)

func TestFree(t *testing.T) {
	seen := map[int]bool{}
	for range 50 {
		port := Free(t)
		if seen[port] || port < first || port >= first+count {
			t.Errorf("%d", port)
		}
		seen[port] = true
	}
	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", Free(t)))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if unused(l.Addr().(*net.TCPAddr).Port) {
		t.Error("a port where somebody listens was called unused")
	}
}

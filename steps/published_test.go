package steps

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestPublishedPorts(t *testing.T) {
	got := ParsePublished("web\t0.0.0.0:8081->80/tcp, :::8081->80/tcp, 9000/tcp\ndb\t127.0.0.1:5432->5432/tcp\n" +
		"sfu\t198.51.100.7:50100-50200->50100-50200/udp\nhostnet\t\n")
	want := []PublishedPort{
		{"web", "0.0.0.0", "tcp", 8081, 8081}, {"db", "127.0.0.1", "tcp", 5432, 5432}, {"sfu", "198.51.100.7", "udp", 50100, 50200},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if got[1].World() || !got[2].World() {
		t.Error("loopback is not the world, a public address is")
	}
}

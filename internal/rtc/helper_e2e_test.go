package rtc

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// checkTraces fails the test where anything of a helper is on the host.
func checkTraces(t *testing.T, h *lab.Host) {
	t.Helper()
	left := h.Exec(t, `systemctl list-units --all --plain --no-legend 'ecdeploy-echo*'; ls -d /run/ecdeploy-echo* 2>/dev/null; grep -lz '^[e]cdeploy-echo' /proc/[0-9]*/cmdline 2>/dev/null; ss -Hlun 'sport >= :50100 and sport <= :50200'; exit 0`)
	if strings.TrimSpace(left) != "" {
		t.Errorf("the helper left behind:\n%s", left)
	}
}

// TestE2EHelper runs the echo on a real host.
func TestE2EHelper(t *testing.T) {
	lab.Require(t)
	h := lab.Up(t, lab.Light, "blameh")[0]
	target, addr := connectLab(t, h)
	target.Helper = true
	h.Exec(t, "ufw allow 50100:50200/udp && ufw allow 7881/tcp && systemd-run --quiet --unit=seven perl -MIO::Socket::INET -e '$$s = IO::Socket::INET->new(LocalPort => 7880, Listen => 9) or die; sleep 999'; sleep 1")
	before := h.Snapshot(t)
	udp := func(t *testing.T) Blame { return target.blameUDP(t.Context(), "udp4", addr) }

	t.Run("answers", func(t *testing.T) {
		ports, err := target.echoOn(t.Context(), "udp4", addr)
		if err != nil {
			t.Fatal(err)
		}
		if len(ports) != 4 {
			t.Errorf("%d ports", len(ports))
		}
		for _, p := range ports {
			t.Log(p)
			if want := map[bool]int{true: 1, false: echoes}[p.tcp]; p.sent != want || p.back != want || p.arrived != want || p.replied != want {
				t.Errorf("want %d of all", want)
			}
		}
		checkTraces(t, h)
		checkBlame(t, udp(t), "media", HostSide, "the way is open in both directions", "udp 50150: 20 sent, 20 arrived at the helper, 20 answered, 20 answers came back")
		checkTraces(t, h)
	})
	t.Run("ports that are taken", func(t *testing.T) {
		h.Exec(t, `systemd-run --quiet --unit=taken perl -MIO::Socket::INET -e '@s = map { IO::Socket::INET->new(LocalPort => $$_, Proto => "udp") or die } 50100, 50101, 50200; sleep 99'; sleep 1`)
		defer h.Exec(t, "systemctl stop taken")
		ports, err := target.echoOn(t.Context(), "udp4", addr)
		if err != nil || len(ports) != 4 || ports[1].port != 50102 || ports[2].port != 50150 || ports[3].port != 50103 || ports[1].back != echoes {
			t.Errorf("%v, %v", ports, err)
		}
	})
	t.Run("the host drops its answers", func(t *testing.T) {
		h.Exec(t, "iptables -I OUTPUT -p udp --sport 50100:50200 -j DROP")
		defer h.Exec(t, "iptables -D OUTPUT -p udp --sport 50100:50200 -j DROP")
		checkBlame(t, udp(t), "return-path", HostSide, "20 arrived at the helper, 0 answered, 0 answers came back")
		checkTraces(t, h)
	})
	t.Run("something in front drops its answers", func(t *testing.T) {
		dropInFront(t, h, "ingress", "udp sport 50100-50200 drop")
		checkBlame(t, udp(t), "return-path", WaySide, "20 arrived at the helper, 20 answered, 0 answers came back")
		checkTraces(t, h)
	})
	t.Run("cut short", func(t *testing.T) {
		for _, after := range []time.Duration{0, 5 * time.Millisecond, 30 * time.Millisecond, 100 * time.Millisecond, 200 * time.Millisecond, 250 * time.Millisecond} {
			ctx, cancel := context.WithTimeout(t.Context(), after)
			ports, err := target.echoOn(ctx, "udp4", addr)
			cancel()
			t.Logf("after %s: %v", after, err)
			if err == nil && after < 100*time.Millisecond {
				t.Errorf("after %s: %v", after, ports)
			}
			checkTraces(t, h)
		}
	})
	t.Run("nobody is there to stop it", func(t *testing.T) {
		e := &echo{h: target.Hosts[h.Name], name: random(8), nonce: make([]byte, 16)}
		if err := e.start(t.Context(), target, addr); err != nil {
			t.Fatal(err)
		}
		defer checkTraces(t, h)
		defer func() {
			if err := e.stop(t.Context()); err != nil {
				t.Error(err)
			}
		}()
		if got := h.Exec(t, "systemctl show -p RuntimeMaxUSec --value "+e.unit()); strings.TrimSpace(got) != "1min" {
			t.Errorf("it runs for %s", got)
		}
		if got := h.Exec(t, "ls -d /run/ecdeploy-echo* 2>/dev/null; grep -E '^(Uid|Gid)' /proc/"+e.pid+"/status"); strings.Contains(got, "/run") || strings.Count(got, "\t65534") != 8 {
			t.Errorf("while it runs:\n%s", got)
		}
		e.nonce = []byte("not what it knows")[:16]
		if sent, back := e.overUDP(t.Context(), "udp4", addr.String()+":50100"); sent != echoes || back != 0 {
			t.Errorf("it answers what it does not know: %d of %d", back, sent)
		}
	})
	t.Run("no perl", func(t *testing.T) {
		h.Exec(t, "mv /usr/bin/perl /usr/bin/perl-away")
		defer h.Exec(t, "mv /usr/bin/perl-away /usr/bin/perl")
		checkBlame(t, udp(t), "media", HostSide, "no perl or no systemd", "ICMP refusals")
		checkTraces(t, h)
	})
	if diff := lab.Diff(before, h.Snapshot(t)); diff != "" {
		t.Errorf("the host differs:\n%s", diff)
	}
}

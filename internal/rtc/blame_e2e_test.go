package rtc

import (
	"context"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
	"github.com/emdecloud/ecdeploy/steps"
)

// connectLab is a target of lab hosts; the SFU is on the first. There is no LiveKit.
func connectLab(t *testing.T, hosts ...*lab.Host) (Target, netip.Addr) {
	t.Helper()
	none := filepath.Join(t.TempDir(), "none")
	if err := os.WriteFile(none, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	d, err := host.NewDialer(host.Options{SSHConfig: none, KnownHosts: []string{lab.Env(t, "KNOWN_HOSTS")}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(d.Close)
	target := Target{Hosts: map[string]host.Host{}, Now: time.Now}
	for _, h := range hosts {
		c, err := d.Dial(t.Context(), host.Target{Name: h.Name, Address: h.IP, User: "root", Identity: lab.Env(t, "KEY"), Become: host.BecomeSudo})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		target.Hosts[h.Name] = c
	}
	target.Site = new(steps.Site)
	target.SFU = Service{Host: hosts[0].Name, Signalling: 7880, TCP: 7881, UDP: [2]int{50100, 50200}}
	return target, netip.MustParseAddr(hosts[0].IP)
}

// dropInFront drops packets on the way to a host, where the host cannot see them: on
// the other end of its network cable. nft of the host is run in this machine's own
// network namespace, as this machine may have none.
func dropInFront(t *testing.T, h *lab.Host, hook, rule string) {
	t.Helper()
	index := strings.TrimSpace(h.Exec(t, "cat /sys/class/net/eth0/iflink"))
	out, err := exec.Command("sh", "-c", `grep -lx "$1" /sys/class/net/*/ifindex | cut -d/ -f5`, "sh", index).Output()
	if err != nil {
		t.Fatal(err)
	}
	pid, err := exec.Command("docker", "inspect", "-f", "{{.State.Pid}}", "ecdeploy-lab-"+h.Name).Output()
	if err != nil {
		t.Fatal(err)
	}
	nft := func(text string) {
		t.Helper()
		if out, err := exec.Command("nsenter", "-m", "-t", strings.TrimSpace(string(pid)), "nft", text).CombinedOutput(); err != nil {
			t.Fatalf("nft %s: %v\n%s", text, err, out)
		}
	}
	table := "netdev ec_" + strings.ReplaceAll(h.Name, "-", "_")
	nft(fmt.Sprintf("add table %s; add chain %s out { type filter hook %s device %q priority 0; }; add rule %s out %s",
		table, table, hook, strings.TrimSpace(string(out)), table, rule))
	t.Cleanup(func() { nft("delete table " + table) })
}

// checkBlame fails the test where a blame is another one, or its evidence has not all
// of the words.
func checkBlame(t *testing.T, b Blame, code Code, side Side, words ...string) {
	t.Helper()
	all := strings.Join(b.Evidence, "\n")
	t.Logf("%s on the %s:\n%s", b.Code, b.Side, all)
	if b.Code != code || b.Side != side {
		t.Errorf("%s, %s; want %s, %s", b.Code, b.Side, code, side)
	}
	for _, w := range words {
		if !strings.Contains(all, w) {
			t.Errorf("the evidence has no %q", w)
		}
	}
}

// TestE2EBlame breaks the way to a real host in one way after the other.
func TestE2EBlame(t *testing.T) {
	lab.Require(t)
	h := lab.Up(t, lab.Light, "blame")[0]
	target, addr := connectLab(t, h)
	target.Helper = false
	udp := func(t *testing.T) Blame { return target.blameUDP(t.Context(), "udp4", addr) }
	tcp := func(t *testing.T) Blame { return target.blameTCP(t.Context(), "tcp4", addr) }
	// with does something to the host and undoes it when the test ends.
	with := func(t *testing.T, do, undo string) {
		t.Helper()
		h.Exec(t, do)
		t.Cleanup(func() { h.Exec(t, undo) })
	}
	const listen = `systemd-run --quiet --unit=listener-$1 perl -MIO::Socket::INET -e '$$s = IO::Socket::INET->new(LocalPort => shift, Listen => 64, ReuseAddr => 1) or die; while ($$c = $$s->accept) { close $$c }' $1; sleep 1`
	listening := func(t *testing.T, port string) {
		with(t, "set -- "+port+"; "+listen, "systemctl stop listener-"+port)
	}
	open := func(t *testing.T) {
		with(t, "ufw allow 50100:50200/udp && ufw allow 7881/tcp", "ufw delete allow 50100:50200/udp && ufw delete allow 7881/tcp")
	}

	t.Run("ufw closed", func(t *testing.T) {
		checkBlame(t, udp(t), "firewall-udp", HostSide, "default policy of INPUT is DROP", "ufw is active", "none of its rules is for 50100/udp")
		checkBlame(t, tcp(t), "firewall-tcp", HostSide, "default policy of INPUT is DROP", "ufw is active", "none of its rules is for 7881/tcp")
	})
	t.Run("ufw closed by a rule", func(t *testing.T) {
		with(t, "ufw deny 50100:50200/udp && ufw reject 7881/tcp", "ufw delete deny 50100:50200/udp && ufw delete reject 7881/tcp")
		listening(t, "7881")
		checkBlame(t, udp(t), "firewall-udp", HostSide, "ufw-user-input", "50100:50200", "its rule 50100:50200/udp DENY IN")
		checkBlame(t, tcp(t), "firewall-tcp", HostSide, "ufw-user-input", "its rule 7881/tcp REJECT IN", "the host listens at 0.0.0.0:7881")
	})
	t.Run("a part of the range", func(t *testing.T) {
		with(t, "ufw allow 50100:50150/udp", "ufw delete allow 50100:50150/udp")
		checkBlame(t, udp(t), "firewall-udp", HostSide, "udp4 50175, 50200: 120 packets sent to there, dropped", "udp4 50100, 50125, 50150: 180 packets sent to there, let in")
	})
	t.Run("open and LiveKit does not run", func(t *testing.T) {
		open(t)
		checkBlame(t, udp(t), "not-listening", HostSide)
		checkBlame(t, tcp(t), "not-listening", HostSide, "nobody listens at port 7881")
	})
	t.Run("open", func(t *testing.T) {
		open(t)
		listening(t, "7880")
		listening(t, "7881")
		checkBlame(t, udp(t), "media", HostSide, "ICMP refusals")
		checkBlame(t, tcp(t), "media", HostSide, "60 came about")
	})
	t.Run("REJECT", func(t *testing.T) {
		open(t)
		with(t, "iptables -I INPUT -p udp --dport 50100:50200 -j REJECT && iptables -I INPUT -p tcp --dport 7881 -j REJECT --reject-with tcp-reset",
			"iptables -D INPUT -p udp --dport 50100:50200 -j REJECT && iptables -D INPUT -p tcp --dport 7881 -j REJECT --reject-with tcp-reset")
		checkBlame(t, udp(t), "firewall-udp", HostSide, "INPUT -p udp", "-j REJECT", "refusals came back")
		checkBlame(t, tcp(t), "firewall-tcp", HostSide, "INPUT -p tcp", "-j REJECT", "60 were refused")
	})
	for name, counter := range map[string]string{"nft": "counter ", "nft without a counter": ""} {
		t.Run(name, func(t *testing.T) {
			open(t)
			listening(t, "7881")
			with(t, `nft 'add table inet mine; add chain inet mine early { type filter hook prerouting priority -310; };
				add rule inet mine early udp dport 50000-51000 `+counter+`drop; add rule inet mine early tcp dport 7881 `+counter+`drop'`, "nft delete table inet mine")
			checkBlame(t, udp(t), "firewall-udp", HostSide, "nft: inet mine early: udp dport 50000-51000 drop")
			checkBlame(t, tcp(t), "firewall-tcp", HostSide, "nft: inet mine early: tcp dport 7881 drop")
		})
	}
	t.Run("dropped on the host's network card", func(t *testing.T) {
		open(t)
		with(t, `nft 'add table netdev mine; add chain netdev mine early { type filter hook ingress device "eth0" priority 0; }; add rule netdev mine early udp dport 50000-51000 counter drop'`, "nft delete table netdev mine")
		checkBlame(t, udp(t), "firewall-udp", HostSide, "network card did receive", "netdev mine early: udp dport 50000-51000 drop")
	})
	t.Run("something in front filters the range", func(t *testing.T) {
		open(t)
		listening(t, "7881")
		dropInFront(t, h, "egress", "meta l4proto { tcp, udp } th dport { 7881, 50100-50200 } drop")
		checkBlame(t, udp(t), "blocked-udp", WaySide, "UDP from here to port 443, 3478, 40007 does arrive")
		checkBlame(t, tcp(t), "blocked-tcp", WaySide, "60 got no answer", "nothing of it was received")
	})
	t.Run("something in front lets no UDP in", func(t *testing.T) {
		open(t)
		dropInFront(t, h, "egress", "meta l4proto udp drop")
		checkBlame(t, udp(t), "blocked-udp", WaySide, "from one place it is unknown")
	})
	t.Run("the host drops its answers", func(t *testing.T) {
		open(t)
		listening(t, "7880")
		listening(t, "7881")
		with(t, "iptables -I OUTPUT -p icmp -j DROP; iptables -I OUTPUT -p tcp --sport 7881 -j DROP", "iptables -D OUTPUT -p icmp -j DROP; iptables -D OUTPUT -p tcp --sport 7881 -j DROP")
		checkBlame(t, udp(t), "return-path", HostSide, "its own netfilter drops what it answers")
		checkBlame(t, tcp(t), "return-path", HostSide, "its own netfilter drops them")
	})
	t.Run("this machine's own firewall", func(t *testing.T) {
		rule := []string{"OUTPUT", "-d", h.IP, "-p", "udp", "--dport", "50100:50200", "-j", "DROP"}
		if out, err := exec.Command("iptables", append([]string{"-I"}, rule...)...).CombinedOutput(); err != nil {
			t.Skipf("iptables: %v: %s", err, out)
		}
		defer exec.Command("iptables", append([]string{"-D"}, rule...)...).Run()
		checkBlame(t, udp(t), "laptop-network", LaptopSide, "operation not permitted")
	})
	t.Run("in the middle", func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 700*time.Millisecond)
		defer cancel()
		began := time.Now()
		checkBlame(t, target.blameUDP(ctx, "udp4", addr), "media", HostSide, "could not be looked for")
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("it went on for %s", took)
		}
	})
}

// TestE2EBlameFromTwo looks from a second host, too.
func TestE2EBlameFromTwo(t *testing.T) {
	lab.Require(t)
	hosts := lab.Up(t, lab.Light, "blamea", "blameb")
	target, addr := connectLab(t, hosts...)
	for _, h := range hosts {
		h.Exec(t, "ufw allow 50100:50200/udp")
	}
	gateway := strings.TrimSpace(hosts[0].Exec(t, "ip route | sed -n 's/^default via \\([0-9.]*\\).*/\\1/p'"))
	t.Run("the network here lets no UDP out", func(t *testing.T) {
		dropInFront(t, hosts[0], "egress", "meta l4proto udp ip saddr "+gateway+" drop")
		dropInFront(t, hosts[1], "egress", "meta l4proto udp ip saddr "+gateway+" drop")
		checkBlame(t, target.blameUDP(t.Context(), "udp4", addr), "laptop-udp", LaptopSide, "UDP from blameb to port 50100 of the host does arrive", "of blameb does not arrive")
	})
	t.Run("something in front of the host lets no UDP in", func(t *testing.T) {
		dropInFront(t, hosts[0], "egress", "meta l4proto udp drop")
		checkBlame(t, target.blameUDP(t.Context(), "udp4", addr), "blocked-udp", WaySide, "UDP from blameb to port 50100 of the host does not arrive either", "UDP from here does arrive at another host")
	})
	t.Run("something in front lets in the other host alone", func(t *testing.T) {
		hosts[0].Exec(t, "ufw allow 7881/tcp; systemd-run --quiet --unit=seven perl -MIO::Socket::INET -e '$$s = IO::Socket::INET->new(LocalPort => 7881, Listen => 9) or die; sleep 999'; sleep 1")
		dropInFront(t, hosts[0], "egress", "ip saddr "+gateway+" meta l4proto { tcp, udp } th dport { 443, 3478, 7881, 40007, 50100-50200 } drop")
		checkBlame(t, target.blameUDP(t.Context(), "udp4", addr), "blocked-udp", WaySide, "UDP from blameb to port 50100 of the host does arrive", "UDP from here does arrive at another host")
		checkBlame(t, target.blameTCP(t.Context(), "tcp4", addr), "blocked-tcp", WaySide, "blameb does get a connection")
	})
}

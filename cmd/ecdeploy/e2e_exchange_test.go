package main

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// ownRules is a firewall as an admin writes it who gives up ufw.
const ownRules = `ufw disable >/dev/null
cat >/etc/nftables.conf <<'END'
#!/usr/sbin/nft -f
table inet admin
delete table inet admin
table inet admin {
	chain input {
		type filter hook input priority filter; policy drop;
		iif "lo" accept
		ct state established,related accept
		meta l4proto { icmp, ipv6-icmp } accept
		tcp dport { 22, 80, 443, 8448 } accept
	}
}
END
systemctl enable --now nftables && nft -f /etc/nftables.conf`

// Variants are exchanged: the SFU goes from behind nginx on one host to behind Caddy on
// another, and ufw gives way to nftables. Nothing of the old ones is left, a rollback
// brings them back, and in the end each host is as its admin left it.
func TestE2EExchange(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	caddy := lab.Up(t, lab.Caddy, "swapped")[0]
	home := lab.Up(t, lab.Full, "swap")[0]
	c := newCLI(t)
	text := httpText(t, "swap")
	before := planFile(t, text)
	block := `host "swapped" {
  address  = "` + caddy.IP + `"
  user     = "root"
  identity = "` + lab.Env(t, "KEY") + `"
}
`
	_, rest, _ := strings.Cut(text, `host "swap" {`)
	after := planFile(t, block+`host "swap" {`+rest,
		"  sfu {\n    host    = host.swap\n    url     = \"https://matrix-rtc-sfu.swap.test\"", "  sfu {\n    host    = host.swapped\n    url     = \"https://matrix-rtc-sfu.swapped.test\"",
		`node_ip = "`+home.IP, `node_ip = "`+caddy.IP,
		`  synapse "debian"`, "  proxy \"caddy\" { host = host.swapped }\n  synapse \"debian\"")
	untouched := caddy.Snapshot(t)

	c.run(t, exitOK, "apply", "--yes", before)
	home.Exec(t, ownRules)
	deployed := home.Snapshot(t)
	out := c.run(t, exitOK, "apply", "--yes", after)
	for _, want := range []string{"- container livekit-sfu", "- ufw allow 7881/tcp", "- ufw allow 50100-50200/udp", "+ container livekit-sfu", "~ Caddy", "applied"} {
		if !strings.Contains(out, want) {
			t.Errorf("the output does not say %q:\n%s", want, out)
		}
	}
	joinAt(t, home, "https://matrix-rtc-jwt."+home.Domain, "wss://matrix-rtc-sfu."+caddy.Domain, "alice", "bob")
	if got := home.Exec(t, "grep -rl matrix-rtc-sfu /etc/nginx; ufw show added | grep ecdeploy; ls -d /etc/ecdeploy/swap.test/sfu /etc/sysctl.d/*ecdeploy* 2>/dev/null; docker ps --format '{{.Names}}' | grep livekit; :"); got != "" {
		t.Errorf("something of the old place is left:\n%s", got)
	}
	if out := c.run(t, exitOK, "plan", after); !strings.Contains(out, "nothing to do") {
		t.Errorf("the second time it has something to do:\n%s", out)
	}
	c.run(t, exitOK, "rollback", "--yes", after)
	compareSnapshots(t, "rollback: the old host", deployed, home.Snapshot(t))
	compareSnapshots(t, "rollback: the new host", untouched, caddy.Snapshot(t))

	c.run(t, exitOK, "apply", "--yes", after)
	c.run(t, exitOK, "destroy", "--yes", after)
	c.run(t, exitOK, "prune", "--yes", after)
	compareSnapshots(t, "the end: the new host", untouched, caddy.Snapshot(t))
	if got := home.Exec(t, "grep -rl -e matrix-rtc -e ecdeploy /etc/nginx /etc/ufw /etc/matrix-synapse /etc/systemd /etc/sysctl.d; nft list ruleset | grep ecdeploy; ls -d /etc/ecdeploy 2>/dev/null; :"); got != "" {
		t.Errorf("something is left on the old host:\n%s", got)
	}
}

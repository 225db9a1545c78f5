package rtc

import (
	"context"
	"fmt"
	"net/http"
	"net/netip"
	"strings"
	"sync"

	"github.com/emdecloud/ecdeploy/internal/matrix"
)

// lookFromHosts looks along a client's way from other hosts of the plan: by names
// as these resolve them, HTTPS, a WebSocket, LiveKit's TCP port, and whether UDP
// gets to the SFU's host. A call of theirs would need a client there.
func (k *verifier) lookFromHosts(ctx context.Context) {
	var looking sync.WaitGroup
	for _, name := range k.From {
		if k.Hosts[name] == nil {
			k.all(ctx,
				linkCheck{
					id:   "from." + name + ".https",
					name: "HTTPS from " + name,
					part: Names,
					do:   func(context.Context) result { return unseen("there is no connection to " + name) },
				})
			continue
		}
		v := k.onHost(name)
		https, signalling := "from."+name+".https", "from."+name+".websocket"
		k.reserve(https, signalling, "from."+name+".tcp", "from."+name+".udp") // those of several hosts stay apart
		looking.Go(func() {
			k.all(ctx, linkCheck{id: https, name: "HTTPS from " + name, part: Names, do: func(ctx context.Context) result { return k.httpsFrom(ctx, v) }})
			k.all(ctx,
				linkCheck{
					id:    signalling,
					name:  "WebSockets from " + name,
					part:  Signalling,
					needs: []string{https, "sfu.create"},
					do:    func(ctx context.Context) result { return k.webSocketFrom(ctx, v) },
				},
				linkCheck{
					id:    "from." + name + ".tcp",
					name:  "LiveKit's TCP port from " + name,
					part:  Media,
					needs: []string{"container.sfu"},
					do:    func(ctx context.Context) result { return k.tcpFrom(ctx, v) },
				},
			)
			if name != k.SFU.Host { // its own packets never leave it
				k.all(ctx, linkCheck{id: "from." + name + ".udp", name: "UDP from " + name, part: Media, do: func(ctx context.Context) result { return k.udpFrom(ctx, v) }})
			}
		})
	}
	looking.Wait()
}

// beyond is a failure that only one of several places meets.
func (k *verifier) beyond(v vantage, code Code, alike string, evidence ...string) result {
	r := bad(code, WaySide, evidence...)
	if l, ok := k.link(alike); ok && l.Status == Failed && l.Side == HostSide {
		r.code, r.side = l.Code, HostSide // it is the same everywhere
	}
	r.from = v.name
	return r
}

func (k *verifier) httpsFrom(ctx context.Context, v vantage) result {
	for _, n := range []*name{k.named("sfu"), k.named("auth")} {
		url := "https://" + n.host + n.path
		if n.port != "443" {
			url = "https://" + n.host + ":" + n.port + n.path
		}
		resp, _, err := matrix.Get(ctx, k.client(v, k.Roots), url, nil)
		switch {
		case err != nil:
			return k.beyond(v, "https-blocked", "tls."+n.id, err.Error())
		case resp.StatusCode != n.status:
			return k.beyond(v, "name-elsewhere", "tls."+n.id, answers(resp.StatusCode, url))
		}
	}
	return result{status: OK, from: v.name}
}

func (k *verifier) webSocketFrom(ctx context.Context, v vantage) result {
	// LiveKit refuses a made-up token only after the WebSocket's way was gone.
	ws, err := openSignalling(ctx, k.client(v, k.Roots), k.SFU.WebSocket, "made-up")
	switch {
	case err == nil:
		_ = ws.CloseNow()
		return bad("key-unknown", HostSide, "LiveKit takes a made-up token")
	case statusOf(err) == 0:
		return k.beyond(v, "https-blocked", "sfu.websocket", err.Error())
	case statusOf(err) != http.StatusUnauthorized:
		return k.beyond(v, "no-upgrade", "sfu.websocket", err.Error())
	}
	return result{status: OK, from: v.name, evidence: []string{fmt.Sprintf("LiveKit answers %d to a made-up token", http.StatusUnauthorized)}}
}

// mediaAddr is the address that media goes to: the first that node_ip names, else
// the first that the SFU's name has.
func (k *verifier) mediaAddr() (netip.Addr, bool) {
	for _, text := range k.SFU.Addresses {
		if a, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil {
			return a.Unmap(), true
		}
	}
	if addrs := k.named("sfu").addrs; len(addrs) > 0 {
		return addrs[0], true
	}
	return netip.Addr{}, false
}

func (k *verifier) tcpFrom(ctx context.Context, v vantage) result {
	a, ok := k.mediaAddr()
	if !ok {
		return unseen("the address for media is not known")
	}
	to := netip.AddrPortFrom(a, uint16(k.SFU.TCP)).String()
	ctx, cancel := context.WithTimeout(ctx, dialTime)
	defer cancel()
	conn, err := v.dial(ctx, "tcp", to)
	if err != nil {
		return k.beyond(v, "blocked-tcp", "media."+family("tcp", a), err.Error())
	}
	_ = conn.Close() // nothing was said
	return result{status: OK, from: v.name, evidence: []string{to + " is open"}}
}

// udpFrom sends datagrams to a port of the range where nobody listens, and looks
// at the counters of the SFU's host.
func (k *verifier) udpFrom(ctx context.Context, v vantage) result {
	r := k.arrivesFrom(ctx, v)
	r.from = v.name
	return r
}

func (k *verifier) arrivesFrom(ctx context.Context, v vantage) result {
	a, ok := k.mediaAddr()
	sfu := k.Hosts[k.SFU.Host]
	if !ok {
		return unseen("the address for media is not known")
	}
	k.blaming.Lock()
	defer k.blaming.Unlock()
	around, err := lookAround(ctx, sfu)
	if err != nil {
		return unseen(err.Error())
	}
	first, last := k.SFU.UDPRange()
	free := around.freePorts(first, last, 1)
	w, err := newWatch(ctx, sfu, a.Is6(), quietUDP)
	if err != nil || len(free) == 0 {
		return unseen("no port of the range is free to look at")
	}
	s, err := w.during(ctx, free[0], func() knocked { return knockFrom(ctx, k.Hosts[v.name], a, free[0]) })
	if err != nil {
		return unseen(err.Error())
	}
	said := tell(family("udp", a), []seen{s})
	switch s.fate() {
	case fateLetIn:
		return good(said)
	case fateDropped, fateMisrouted:
		return bad("firewall-udp", HostSide, said)
	case fateLost:
		return bad("blocked-udp", WaySide, said)
	}
	return unseen(said)
}

package rtc

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// network is one kind of way for media.
type network struct {
	network  string // "udp4"
	protocol string // "udp"
	name     string
}

var families = map[bool][]network{
	true:  {{"udp4", "udp", "media over UDP"}, {"tcp4", "tcp", "media over TCP"}},
	false: {{"udp6", "udp", "media over UDP and IPv6"}, {"tcp6", "tcp", "media over TCP and IPv6"}},
}

// networks are the ways that the site announces: IPv4, and IPv6 where node_ip has
// an address of it.
func (k *verifier) networks() []network {
	var out []network
	if len(k.SFU.Addresses) == 0 {
		return families[true]
	}
	for _, text := range k.SFU.Addresses {
		if ip, err := netip.ParseAddr(strings.TrimSpace(text)); err == nil {
			out = append(out, families[ip.Unmap().Is4()]...)
		}
	}
	return out
}

// lookAtMedia places a test call over each way, all at once.
func (k *verifier) lookAtMedia(ctx context.Context, r *rooms, needs []string, report *Report) {
	if _, ended := k.link("sfu.websocket"); ended { // it did not open
		needs = append(slices.Clone(needs), "sfu.websocket")
	}
	k.reserve("candidates") // what it says may explain the others
	var mu sync.Mutex
	all := map[string]Outcome{}
	var checks []linkCheck
	for _, n := range k.networks() {
		checks = append(checks, linkCheck{id: "media." + n.network, name: n.name, part: Media, needs: needs, do: func(ctx context.Context) result {
			out, err := k.call(r, n).Run(ctx)
			if lostOnTheWay(out, err) { // once more, as ask does
				out, err = k.call(r, n).Run(ctx)
			}
			mu.Lock()
			all[n.network] = out
			mu.Unlock()
			return k.judge(ctx, n, r, out, err)
		}})
	}
	k.all(ctx, checks...)
	if slices.ContainsFunc(slices.Collect(maps.Values(all)), func(o Outcome) bool { return o.TURN }) {
		k.all(ctx, linkCheck{id: "media.turn", name: "media over TURN", part: Media, needs: needs,
			do: func(ctx context.Context) result { return k.turn(ctx, r, report) }})
	}
	k.all(ctx, linkCheck{id: "candidates", name: "the addresses that LiveKit tells clients", part: Media, needs: needs, do: func(context.Context) result {
		var told []string
		for _, n := range k.networks() {
			told = append(told, all[n.network].Candidates...)
		}
		c := k.candidates(told)
		if c.status == Failed && slices.Contains([]Code{"wrong-address", "private-address"}, c.code) && k.mediaWorks() {
			return warn(c.code, append(c.evidence, "media came through all the same")...)
		}
		return c
	}})
	for _, n := range k.networks() {
		report.Flows = append(report.Flows, all[n.network].Flows...)
	}
	if k.Participants > 2 {
		k.all(ctx,
			linkCheck{
				id:    "load",
				name:  fmt.Sprintf("a call of %d participants", k.Participants),
				part:  Media,
				needs: append(needs, "media."+k.networks()[0].network),
				do:    func(ctx context.Context) result { return k.load(ctx, r, report) },
			})
	}
}

// mediaWorks reports whether media came by all ways.
func (k *verifier) mediaWorks() bool {
	return !slices.ContainsFunc(k.networks(), func(n network) bool {
		l, ok := k.link("media." + n.network)
		return !ok || l.Status != OK
	})
}

// call is a call of two on one way.
func (k *verifier) call(r *rooms, n network) Call {
	room := r.name(n.network)
	return Call{URL: k.SFU.WebSocket, Client: k.by("sfu"), Network: n.network, Duration: k.Duration, Publishers: 1,
		Tokens: []string{k.joinToken("speaks", room), k.joinToken("listens", room)}}
}

// What may be lost of a call before a person is told, and before it is not a call.
// Where most is lost, something lets through but a little.
const (
	someLoss = 0.02
	muchLoss = 0.2
	mostLoss = 0.5
)

// lostOnTheWay reports whether a call did not come about as the connection for
// signalling was not opened, or ended before anything was said.
func lostOnTheWay(out Outcome, err error) bool {
	e, refused := errors.AsType[*joinError](err)
	return refused && e.status == 0 || errors.Is(err, errGone) && len(out.Candidates) == 0
}

// worstLoss is the share of packets that the worst of flows lost.
func worstLoss(flows []Flow) float64 {
	worst := 0.0
	for _, f := range flows {
		worst = max(worst, float64(f.Lost)/float64(max(1, f.Sent)))
	}
	return worst
}

func (k *verifier) judge(ctx context.Context, n network, r *rooms, out Outcome, err error) result {
	if err == nil && worstLoss(out.Flows) > mostLoss {
		err = errNoMedia
	}
	if err == nil {
		f := flowing(out)
		f.evidence = append(f.evidence, k.logOf(ctx, r.name(n.network))...)
		return f
	}
	var evidence []string
	for _, f := range out.Flows {
		evidence = append(evidence, fmt.Sprintf("of %s %d packets arrived", f.Kind, f.Packets))
	}
	evidence = append(evidence, err.Error())
	if e, ok := errors.AsType[*joinError](err); ok && e.status == 0 {
		return k.between(k.named("sfu"), e, "signalling-lost", func(v vantage) error {
			ws, err := k.openWebSocket(ctx, v, k.joinToken("asks", r.name(n.network)))
			if err == nil {
				_ = ws.CloseNow()
			}
			return err
		})
	} else if ok {
		return bad("signalling-lost", HostSide, e.Error())
	}
	told := ofKind(parseCandidates(out.Candidates), n)
	switch c := k.candidates(out.Candidates); {
	case c.status == Failed && c.code != "no-candidates":
		return bad(c.code, c.side, append(evidence, c.evidence...)...)
	case errors.Is(err, errGone), out.Joined < 2:
		return bad("signalling-lost", HostSide, append(evidence, k.logOf(ctx, r.name(n.network))...)...)
	case len(told) == 0:
		return bad("no-candidates", HostSide, append(evidence, "LiveKit names no address for "+n.network)...)
	}
	b := k.blameUDP
	if n.protocol == "tcp" {
		b = k.blameTCP
	}
	k.blaming.Lock() // two who knock at once disturb each other's counters
	found := b(ctx, n.network, told[0].addr)
	k.blaming.Unlock()
	evidence = append(evidence, found.Evidence...)
	return bad(found.Code, found.Side, append(evidence, k.logOf(ctx, r.name(n.network))...)...)
}

// flowing judges media that came through.
func flowing(out Outcome) result {
	var lines []string
	for _, f := range out.Flows {
		lines = append(lines, fmt.Sprintf("%s: %d packets arrived, %d were lost, jitter %.1f ms, round trip %.1f ms, %s",
			f.Kind, f.Packets, f.Lost, f.Jitter, f.RTT, f.Pair))
	}
	switch worst := worstLoss(out.Flows); {
	case worst > muchLoss:
		return bad("media-lost", WaySide, lines...)
	case worst > someLoss:
		return warn("media-lost", lines...)
	}
	return good(lines...)
}

// logOf are LiveKit's own last lines about a room.
func (k *verifier) logOf(ctx context.Context, room string) []string {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	res, err := k.Hosts[k.SFU.Host].Query(ctx,
		host.Sh(`timeout 8 docker logs --since 60s "$1" 2>&1 | grep -F -e "$2" | grep -v -e livekit.webhook -e 'stats worker' | tail -n 3 | cut -c1-300`,
			k.SFU.Container, room))
	if err != nil {
		return nil
	}
	var out []string
	for line := range strings.Lines(string(res[0].Stdout)) {
		out = append(out, "LiveKit's log: "+strings.TrimSpace(line))
	}
	return out
}

// turn places a test call by LiveKit's TURN servers alone. ecdeploy sets none up; where
// somebody did, clients use them.
func (k *verifier) turn(ctx context.Context, r *rooms, report *Report) result {
	n := network{network: overTURN}
	if status, said, err := k.makeRoom(ctx, k.by("sfu"), k.SFU.URL, k.Issues, r, n.network); err != nil || status != http.StatusOK {
		return unseen(fmt.Sprintf("CreateRoom answers %d %s", status, short(said)))
	}
	out, err := k.call(r, n).Run(ctx)
	report.Flows = append(report.Flows, out.Flows...)
	if err != nil {
		return bad("turn", WaySide, append([]string{err.Error()}, k.logOf(ctx, r.name(n.network))...)...)
	}
	return flowing(out)
}

// maxPublishers is how many of a large call send: in calls few speak at once, and
// what each sends is multiplied by all who listen.
const maxPublishers = 4

// load places a test call of many on the first way.
func (k *verifier) load(ctx context.Context, r *rooms, report *Report) result {
	n := k.networks()[0]
	if status, said, err := k.makeRoom(ctx, k.by("sfu"), k.SFU.URL, k.Issues, r, "load"); err != nil || status != http.StatusOK {
		return unseen(fmt.Sprintf("CreateRoom answers %d %s", status, short(said)))
	}
	c := k.call(r, n)
	c.Tokens, c.Publishers = nil, min(k.Participants, maxPublishers)
	for i := range k.Participants {
		c.Tokens = append(c.Tokens, k.joinToken(fmt.Sprintf("load-%d", i), r.name("load")))
	}
	out, err := c.Run(ctx)
	l := Load{Participants: k.Participants, Joined: out.Joined, Seconds: out.Took.Seconds(), Flows: out.Wanted, Arrived: len(out.Flows)}
	for _, f := range out.Flows {
		l.Packets += f.Packets
		l.Expected += f.Sent
	}
	l.WorstLoss = worstLoss(out.Flows)
	report.Load = &l
	evidence := []string{fmt.Sprintf("%d of %d joined, %d of %d flows arrived for %s, %d of %d packets, the worst flow lost %.1f %%",
		l.Joined, l.Participants, l.Arrived, l.Flows,
		out.Took.Round(100*time.Millisecond),
		l.Packets, l.Expected, 100*l.WorstLoss)}
	first, last := k.SFU.UDPRange()
	evidence = append(evidence, fmt.Sprintf("the plan file says %d participants; a call of %d takes %d UDP ports, and the range has %d",
		k.SFU.Participants, k.Participants, 2*k.Participants, last-first+1))
	if err != nil {
		return bad("load", HostSide, append(evidence, err.Error())...)
	}
	if l.Arrived < l.Flows || l.WorstLoss > muchLoss {
		return bad("load", HostSide, evidence...)
	}
	if l.WorstLoss > someLoss {
		return warn("load", evidence...)
	}
	return good(evidence...)
}

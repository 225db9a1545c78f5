package rtc

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/pion/webrtc/v4"
	"golang.org/x/sync/errgroup"
)

// Call is a call on an SFU: some publish audio and video, and everybody gets what
// the others publish.
type Call struct {
	URL        string       // of the SFU, wss://name[/prefix]
	Client     *http.Client // for signalling
	Tokens     []string     // JWT of each participant; those who publish come first
	Publishers int
	Network    string        // what media may use: "udp4", "tcp4", "udp6", "tcp6", "udp" and "tcp" for both families, or "turn"
	Duration   time.Duration // of media, from when all of it flows

	mark uint32 // what all nonces of this run of it begin with
}

// Outcome is what a call came to.
type Outcome struct {
	Flows      []Flow        // what arrived, one for each track and each who got it
	Wanted     int           // so many flows were to arrive
	Joined     int           // participants whose signalling stood
	Candidates []string      // addresses that the SFU names: "1 1 udp 2130706431 203.0.113.10 50123 typ host"
	TURN       bool          // the SFU names TURN servers
	Took       time.Duration // of media
}

// mediaTime is how long media may take to begin. ICE needs a few round trips,
// and a packet that is lost costs half a second.
const mediaTime = 8 * time.Second

// Run holds the call. No participant tells the SFU its own candidates: so nothing
// of the SFU's can open its host's own firewall from inside, and media flows only
// if the ports are really open. An error that is errNoMedia comes with what did
// arrive; a *joinError says that signalling did not begin.
func (c Call) Run(ctx context.Context) (Outcome, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	c.mark = uint32(newNonce())
	all, err := c.joinAll(ctx)
	defer func() {
		var closing sync.WaitGroup
		for _, p := range all {
			closing.Go(p.close)
		}
		closing.Wait()
	}()
	out := Outcome{Joined: len(all), Wanted: c.Publishers * (len(c.Tokens) - 1) * 2}
	if err != nil {
		return out, err
	}
	var sending sync.WaitGroup
	defer sending.Wait()
	speak, silence := context.WithCancel(ctx)
	defer silence()
	tracks := map[uint64]*track{} // by nonce
	for _, p := range all[:c.Publishers] {
		own, err := p.publish(ctx)
		if err != nil {
			return c.tell(out, all, tracks), err
		}
		for _, t := range own {
			tracks[t.nonce] = t
			sending.Go(func() { t.send(speak, p) })
		}
	}
	err = c.watch(ctx, all, out.Wanted, tracks)
	silence()
	sending.Wait()
	told := c.tell(out, all, tracks)
	// What is still on its way is not lost.
	for end := time.Now().Add(drainTime); err == nil && worstLoss(told.Flows) > 0 && time.Now().Before(end); told = c.tell(out, all, tracks) {
		select {
		case <-ctx.Done():
			return told, err
		case <-time.After(50 * time.Millisecond):
		}
	}
	return told, err
}

// drainTime is how long the last packets may be on their way, one that is sent
// again among them.
const drainTime = 2 * time.Second

// maxAtOnce bounds how many join at the same time.
const maxAtOnce = 8

func (c Call) joinAll(ctx context.Context) ([]*participant, error) {
	all := make([]*participant, len(c.Tokens))
	var g errgroup.Group
	g.SetLimit(maxAtOnce)
	for i, jwt := range c.Tokens {
		g.Go(func() (err error) {
			name := fmt.Sprintf("listener %d", i+1)
			if i < c.Publishers {
				name = fmt.Sprintf("publisher %d", i+1)
			}
			all[i], err = join(ctx, name, c, jwt)
			return err
		})
	}
	err := g.Wait()
	var joined []*participant
	for _, p := range all {
		if p != nil {
			joined = append(joined, p)
		}
	}
	return joined, err
}

// watch waits until all flows arrive, and then for the call's duration.
func (c Call) watch(ctx context.Context, all []*participant, wanted int, tracks map[uint64]*track) error {
	failed := make(chan error, 1)
	var listening sync.WaitGroup
	defer listening.Wait()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	for _, p := range all {
		listening.Go(func() {
			select {
			case err := <-p.failed:
				select {
				case failed <- err:
				default:
				}
			case <-ctx.Done():
			}
		})
	}
	deadline := time.NewTimer(mediaTime)
	defer deadline.Stop()
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for flowing := false; ; {
		select {
		case err := <-failed:
			return err
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-deadline.C:
			if flowing {
				return nil
			}
			return errNoMedia
		case <-tick.C:
			if !flowing && arrived(all, tracks) >= wanted {
				flowing = true
				deadline.Reset(c.Duration)
			}
		}
	}
}

// arrived counts the flows of which something has arrived.
func arrived(all []*participant, tracks map[uint64]*track) int {
	n := 0
	for _, p := range all {
		p.mu.Lock()
		for _, a := range p.arrivals {
			if f, _ := a.flow(tracks); f.Packets > 0 {
				n++
			}
		}
		p.mu.Unlock()
	}
	return n
}

// tell gathers what arrived, while the connections still stand.
func (c Call) tell(out Outcome, all []*participant, tracks map[uint64]*track) Outcome {
	seen := map[string]bool{}
	for _, p := range all {
		p.mu.Lock()
		arrivals := p.arrivals
		out.TURN = out.TURN || len(p.relays) > 0
		for _, text := range p.candidates {
			if !seen[text] {
				seen[text] = true
				out.Candidates = append(out.Candidates, text)
			}
		}
		p.mu.Unlock()
		var stats webrtc.StatsReport
		if len(arrivals) > 0 {
			stats = p.sub.GetStats()
		}
		for _, a := range arrivals {
			f, began := a.flow(tracks)
			if f.Packets == 0 {
				continue
			}
			out.Took = max(out.Took, time.Since(began))
			f.Network = c.Network
			f.Jitter, f.RTT = figures(stats, a.ssrc)
			f.Pair = pair(p.sub)
			out.Flows = append(out.Flows, f)
		}
	}
	slices.SortStableFunc(out.Flows, func(a, b Flow) int { return strings.Compare(a.Kind, b.Kind) })
	return out
}

// figures are the jitter of a stream and the round-trip time of the way that was
// chosen, in milliseconds (W3C webrtc-stats).
func figures(stats webrtc.StatsReport, ssrc webrtc.SSRC) (jitter, rtt float64) {
	for _, s := range stats {
		switch s := s.(type) {
		case webrtc.InboundRTPStreamStats:
			if s.SSRC == ssrc {
				jitter = s.Jitter * 1000
			}
		case webrtc.ICECandidatePairStats:
			if s.Nominated && s.CurrentRoundTripTime > 0 {
				rtt = s.CurrentRoundTripTime * 1000
			}
		}
	}
	return jitter, rtt
}

// pair is the chosen way of a connection's media.
func pair(pc *webrtc.PeerConnection) string {
	for _, r := range pc.GetReceivers() {
		p, err := r.Transport().ICETransport().GetSelectedCandidatePair()
		if err == nil && p != nil {
			return candidate(p.Local) + " -> " + candidate(p.Remote)
		}
	}
	return "none"
}

func candidate(c *webrtc.ICECandidate) string {
	return fmt.Sprintf("%s %s %s", c.Typ, c.Protocol, net.JoinHostPort(c.Address, fmt.Sprint(c.Port)))
}

// overTURN is the network of a call that goes by the SFU's TURN servers alone.
const overTURN = "turn"

func networkTypes(network string) ([]webrtc.NetworkType, error) {
	switch network {
	case "udp", overTURN: // pion connects to a TCP candidate itself, whatever the policy
		return []webrtc.NetworkType{webrtc.NetworkTypeUDP4, webrtc.NetworkTypeUDP6}, nil
	case "tcp":
		return []webrtc.NetworkType{webrtc.NetworkTypeTCP4, webrtc.NetworkTypeTCP6}, nil
	}
	t, err := webrtc.NewNetworkType(network)
	if err != nil {
		return nil, fmt.Errorf("network %q: %w", network, err)
	}
	return []webrtc.NetworkType{t}, nil
}

func newNonce() uint64 {
	var b [8]byte
	_, _ = rand.Read(b[:]) // never fails (crypto/rand)
	return binary.BigEndian.Uint64(b[:])
}

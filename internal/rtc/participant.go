package rtc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"
	"github.com/livekit/protocol/livekit"
	"github.com/pion/webrtc/v4"
	"google.golang.org/protobuf/proto"
)

// participant is one client of the SFU: a WebSocket for signalling (LiveKit's
// client protocol 9: protobuf, one connection for each direction of media) and
// its two peer connections.
type participant struct {
	name     string
	mark     uint32 // of the call's packets
	ws       *websocket.Conn
	pub, sub *webrtc.PeerConnection
	waiting  map[livekit.SignalTarget][]webrtc.ICECandidateInit // until there is a remote description

	joined    chan struct{} // closed when the SFU has let it in
	closing   chan struct{} // closed when it leaves
	published chan string   // ids of tracks that the SFU has taken
	failed    chan error    // the first error of what runs in the background
	running   sync.WaitGroup

	mu         sync.Mutex
	arrivals   []*arrival
	candidates []string           // of the SFU, as it named them
	relays     []webrtc.ICEServer // TURN servers that the SFU names
}

// errGone says that the signalling connection ended by itself.
var errGone = errors.New("the signalling connection ended")

// join opens the signalling connection. The SFU's part of it is answered in the
// background until close.
func join(ctx context.Context, name string, c Call, jwt string) (*participant, error) {
	p := &participant{name: name, mark: c.mark, waiting: map[livekit.SignalTarget][]webrtc.ICECandidateInit{},
		joined: make(chan struct{}), closing: make(chan struct{}), published: make(chan string, 4), failed: make(chan error, 1)}
	ws, err := openSignalling(ctx, c.Client, c.URL, jwt)
	if err != nil {
		p.close()
		return nil, fmt.Errorf("join as the %s: %w", name, err)
	}
	p.ws = ws
	p.running.Go(func() { p.listen(ctx, c) })
	select {
	case <-p.joined:
		return p, nil
	case err = <-p.failed:
	case <-time.After(requestTime):
		err = errors.New("LiveKit does not let it in")
	case <-ctx.Done():
		err = context.Cause(ctx)
	}
	p.close()
	return nil, fmt.Errorf("join as the %s: %w", name, err)
}

// errNoTURN says that the SFU names no TURN server.
var errNoTURN = errors.New("LiveKit names no TURN server")

// let takes what the SFU says to who comes in, and makes the two connections.
func (p *participant) let(c Call, j *livekit.JoinResponse) error {
	for _, s := range j.GetIceServers() {
		var urls []string
		for _, u := range s.GetUrls() {
			if strings.HasPrefix(u, "turn") {
				urls = append(urls, u)
			}
		}
		if len(urls) > 0 && len(p.relays) < 8 {
			p.relays = append(p.relays, webrtc.ICEServer{URLs: urls, Username: s.GetUsername(), Credential: s.GetCredential()})
		}
	}
	return p.peers(c)
}

func (p *participant) peers(c Call) error {
	networks, err := networkTypes(c.Network)
	if err != nil {
		return err
	}
	settings := webrtc.SettingEngine{}
	settings.SetNetworkTypes(networks)
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings))
	var how webrtc.Configuration // no STUN: the SFU's own candidates have to be reachable
	if c.Network == overTURN {
		how = webrtc.Configuration{ICEServers: p.relays, ICETransportPolicy: webrtc.ICETransportPolicyRelay}
		if len(p.relays) == 0 {
			return errNoTURN
		}
	}
	if p.pub, err = api.NewPeerConnection(how); err != nil {
		return err
	}
	if p.sub, err = api.NewPeerConnection(how); err != nil {
		return err
	}
	// LiveKit's publishing side wants a data channel to be offered.
	if _, err := p.pub.CreateDataChannel("_reliable", nil); err != nil {
		return err
	}
	p.sub.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		a := newArrival(t, p.mark)
		p.mu.Lock()
		p.arrivals = append(p.arrivals, a)
		p.mu.Unlock()
		a.receive(t)
	})
	for target, pc := range map[string]*webrtc.PeerConnection{"publishing": p.pub, "subscribing": p.sub} {
		pc.OnICEConnectionStateChange(func(s webrtc.ICEConnectionState) {
			if s == webrtc.ICEConnectionStateFailed {
				p.fail(fmt.Errorf("the %s reaches no candidate of the SFU (%s side)", p.name, target))
			}
		})
	}
	return nil
}

func (p *participant) close() {
	close(p.closing)
	if p.ws != nil {
		// The call's own context may have ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = p.send(ctx,
			&livekit.SignalRequest{Message: &livekit.SignalRequest_Leave{Leave: &livekit.LeaveRequest{Reason: livekit.DisconnectReason_CLIENT_INITIATED}}})
		_ = p.ws.CloseNow()
	}
	p.running.Wait()
	for _, pc := range []*webrtc.PeerConnection{p.pub, p.sub} {
		if pc != nil {
			_ = pc.GracefulClose()
		}
	}
}

// fail keeps the first error.
func (p *participant) fail(err error) {
	select {
	case p.failed <- err:
	default:
	}
}

func (p *participant) send(ctx context.Context, m *livekit.SignalRequest) error {
	b, err := proto.Marshal(m)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if err := p.ws.Write(ctx, websocket.MessageBinary, b); err != nil {
		return fmt.Errorf("signal as the %s: %w: %w", p.name, errGone, err)
	}
	return nil
}

// listen answers the SFU until the connection ends.
func (p *participant) listen(ctx context.Context, c Call) {
	for {
		_, b, err := p.ws.Read(ctx)
		if err != nil {
			p.fail(fmt.Errorf("%w (%s): %w", errGone, p.name, err))
			return
		}
		m := &livekit.SignalResponse{}
		if err := proto.Unmarshal(b, m); err != nil {
			p.fail(fmt.Errorf("read a signal of the SFU: %w", err))
			return
		}
		if err := p.handle(ctx, c, m); err != nil {
			p.fail(err)
			return
		}
	}
}

func (p *participant) handle(ctx context.Context, c Call, m *livekit.SignalResponse) error {
	j, isJoin := m.Message.(*livekit.SignalResponse_Join)
	switch {
	case isJoin && p.sub == nil: // the first word of the SFU
		if err := p.let(c, j.Join); err != nil {
			return err
		}
		close(p.joined)
		p.running.Go(func() { p.ping(ctx, time.Duration(j.Join.GetPingInterval())*time.Second) })
		return nil
	case p.sub == nil:
		return nil // nothing to be done with it yet
	}
	switch v := m.Message.(type) {
	case *livekit.SignalResponse_Offer:
		return p.answer(ctx, v.Offer)
	case *livekit.SignalResponse_Answer:
		return p.remote(livekit.SignalTarget_PUBLISHER, webrtc.SDPTypeAnswer, v.Answer)
	case *livekit.SignalResponse_Trickle:
		var c webrtc.ICECandidateInit
		if err := json.Unmarshal([]byte(v.Trickle.CandidateInit), &c); err != nil {
			return fmt.Errorf("read a candidate of the SFU: %w", err)
		}
		p.noteCandidate(c.Candidate)
		if pc := p.peer(v.Trickle.Target); pc.RemoteDescription() != nil {
			return pc.AddICECandidate(c)
		}
		p.waiting[v.Trickle.Target] = append(p.waiting[v.Trickle.Target], c)
	case *livekit.SignalResponse_TrackPublished:
		select {
		case p.published <- v.TrackPublished.GetCid():
		default: // more than were announced; nobody waits for it
		}
	case *livekit.SignalResponse_Leave:
		return fmt.Errorf("%w: the SFU sends the %s away: %s", errGone, p.name, v.Leave.GetReason())
	}
	return nil
}

// ping does what clients do from time to time, so that a proxy does not take the
// connection for idle sooner than it would theirs.
func (p *participant) ping(ctx context.Context, every time.Duration) {
	if every <= 0 {
		every = 5 * time.Second
	}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.closing:
			return
		case <-tick.C:
		}
		if p.send(ctx, &livekit.SignalRequest{Message: &livekit.SignalRequest_PingReq{PingReq: &livekit.Ping{Timestamp: time.Now().UnixMilli()}}}) != nil {
			return // the reading half says why
		}
	}
}

// noteCandidate keeps what the SFU says of where it is.
func (p *participant) noteCandidate(text string) {
	text = strings.TrimPrefix(text, "candidate:")
	p.mu.Lock()
	defer p.mu.Unlock()
	if text != "" && len(p.candidates) < 64 && !slices.Contains(p.candidates, text) {
		p.candidates = append(p.candidates, text)
	}
}

// answer takes the SFU's offer of what others publish.
func (p *participant) answer(ctx context.Context, offer *livekit.SessionDescription) error {
	if err := p.remote(livekit.SignalTarget_SUBSCRIBER, webrtc.SDPTypeOffer, offer); err != nil {
		return err
	}
	answer, err := p.sub.CreateAnswer(nil)
	if err != nil {
		return err
	}
	if err := p.sub.SetLocalDescription(answer); err != nil {
		return err
	}
	return p.send(ctx, &livekit.SignalRequest{Message: &livekit.SignalRequest_Answer{Answer: description(answer, offer.Id)}})
}

func (p *participant) remote(target livekit.SignalTarget, kind webrtc.SDPType, d *livekit.SessionDescription) error {
	if err := p.peer(target).SetRemoteDescription(webrtc.SessionDescription{Type: kind, SDP: d.Sdp}); err != nil {
		return fmt.Errorf("take the SFU's %s: %w", kind, err)
	}
	for line := range strings.Lines(d.Sdp) {
		if c, ok := strings.CutPrefix(strings.TrimSpace(line), "a=candidate:"); ok {
			p.noteCandidate(c)
		}
	}
	for _, c := range p.waiting[target] {
		if err := p.peer(target).AddICECandidate(c); err != nil {
			return err
		}
	}
	delete(p.waiting, target)
	return nil
}

func (p *participant) peer(t livekit.SignalTarget) *webrtc.PeerConnection {
	if t == livekit.SignalTarget_PUBLISHER {
		return p.pub
	}
	return p.sub
}

// description is one for the SFU, without our candidates; Call says why.
func description(d webrtc.SessionDescription, id uint32) *livekit.SessionDescription {
	var kept strings.Builder
	for line := range strings.Lines(d.SDP) {
		if !strings.HasPrefix(line, "a=candidate:") && !strings.HasPrefix(line, "a=end-of-candidates") {
			kept.WriteString(line)
		}
	}
	return &livekit.SessionDescription{Type: d.Type.String(), Sdp: kept.String(), Id: id}
}

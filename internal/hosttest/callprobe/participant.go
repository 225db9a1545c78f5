package callprobe

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
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
	ws       *websocket.Conn
	client   *http.Client
	pub, sub *webrtc.PeerConnection
	waiting  map[livekit.SignalTarget][]webrtc.ICECandidateInit // until there is a remote description

	published chan struct{} // closed when the SFU has taken the track
	failed    chan error    // the first error of what runs in the background
	packets   atomic.Int64
	running   sync.WaitGroup
}

// join opens the signalling connection. The SFU's part of it is answered in the
// background until close.
func join(ctx context.Context, name string, c Config, jwt string, networks []webrtc.NetworkType) (*participant, error) {
	p := &participant{name: name, client: httpClient(c.Roots, c.Hosts), waiting: map[livekit.SignalTarget][]webrtc.ICECandidateInit{},
		published: make(chan struct{}), failed: make(chan error, 1)}
	if err := p.peers(networks); err != nil {
		p.close()
		return nil, err
	}
	query := url.Values{"access_token": {jwt}, "protocol": {"9"}, "sdk": {"go"}, "version": {"1.0.0"}, "auto_subscribe": {"1"}}
	ws, resp, err := websocket.Dial(ctx, strings.TrimSuffix(c.URL, "/")+"/rtc?"+query.Encode(), &websocket.DialOptions{HTTPClient: p.client})
	if err != nil {
		p.close()
		return nil, fmt.Errorf("join %s as the %s: %s%w", c.URL, name, refusal(resp), hide(err, jwt))
	}
	ws.SetReadLimit(1 << 20)
	p.ws = ws
	p.running.Go(func() { p.listen(ctx) })
	return p, nil
}

// refusal is what the SFU, or who stands before it, answered for a WebSocket.
func refusal(resp *http.Response) string {
	if resp == nil || resp.Body == nil {
		return ""
	}
	b, _ := io.ReadAll(io.LimitReader(resp.Body, 200))
	return fmt.Sprintf("HTTP %s %q: ", resp.Status, strings.TrimSpace(string(b)))
}

// hidden is an error whose text had a token in it.
type hidden struct {
	error
	text string
}

func (h hidden) Error() string { return h.text }
func (h hidden) Unwrap() error { return h.error }

func hide(err error, token string) error {
	return hidden{err, strings.ReplaceAll(err.Error(), token, "***")}
}

func (p *participant) peers(networks []webrtc.NetworkType) error {
	settings := webrtc.SettingEngine{}
	settings.SetNetworkTypes(networks)
	codecs := &webrtc.MediaEngine{}
	if err := codecs.RegisterDefaultCodecs(); err != nil {
		return err
	}
	api := webrtc.NewAPI(webrtc.WithSettingEngine(settings), webrtc.WithMediaEngine(codecs))
	var err error
	// No STUN: the SFU's own candidates have to be reachable.
	if p.pub, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return err
	}
	if p.sub, err = api.NewPeerConnection(webrtc.Configuration{}); err != nil {
		return err
	}
	// LiveKit's publishing side wants a data channel to be offered.
	if _, err := p.pub.CreateDataChannel("_reliable", nil); err != nil {
		return err
	}
	p.sub.OnTrack(func(t *webrtc.TrackRemote, _ *webrtc.RTPReceiver) {
		for {
			if _, _, err := t.ReadRTP(); err != nil {
				return
			}
			p.packets.Add(1)
		}
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
	if p.ws != nil {
		// The call's own context may have ended by now.
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Second)
		defer cancel()
		_ = p.send(ctx, &livekit.SignalRequest{Message: &livekit.SignalRequest_Leave{Leave: &livekit.LeaveRequest{Reason: livekit.DisconnectReason_CLIENT_INITIATED}}})
		_ = p.ws.CloseNow()
	}
	p.running.Wait()
	for _, pc := range []*webrtc.PeerConnection{p.pub, p.sub} {
		if pc != nil {
			_ = pc.GracefulClose()
		}
	}
	p.client.CloseIdleConnections()
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
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	if err := p.ws.Write(ctx, websocket.MessageBinary, b); err != nil {
		return fmt.Errorf("signal as the %s: %w", p.name, err)
	}
	return nil
}

// listen answers the SFU until the connection ends.
func (p *participant) listen(ctx context.Context) {
	for {
		_, b, err := p.ws.Read(ctx)
		if err != nil {
			p.fail(fmt.Errorf("the SFU ended the connection of the %s: %w", p.name, err))
			return
		}
		m := &livekit.SignalResponse{}
		if err := proto.Unmarshal(b, m); err != nil {
			p.fail(fmt.Errorf("read a signal of the SFU: %w", err))
			return
		}
		if err := p.handle(ctx, m); err != nil {
			p.fail(err)
			return
		}
	}
}

func (p *participant) handle(ctx context.Context, m *livekit.SignalResponse) error {
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
		if pc := p.peer(v.Trickle.Target); pc.RemoteDescription() != nil {
			return pc.AddICECandidate(c)
		}
		p.waiting[v.Trickle.Target] = append(p.waiting[v.Trickle.Target], c)
	case *livekit.SignalResponse_TrackPublished:
		close(p.published)
	case *livekit.SignalResponse_Leave:
		return fmt.Errorf("the SFU sends the %s away: %s", p.name, v.Leave.GetReason())
	}
	return nil
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

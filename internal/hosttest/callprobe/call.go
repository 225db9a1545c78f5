package callprobe

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// Config is one call of two participants.
type Config struct {
	URL        string // of the SFU, ws or wss
	Publisher  string // JWT
	Subscriber string // JWT
	Network    string // "udp" or "tcp": what media may use; also "udp4", "tcp6" and so on
	Packets    int    // so many have to arrive
	Roots      *x509.CertPool
	Hosts      map[string]string // name to address, for names that no resolver knows
}

// Result is what arrived, and how.
type Result struct {
	Packets int    // RTP packets that the subscriber got
	Pair    string // the subscriber's ICE pair: LOCAL -> REMOTE
}

const frame = 20 * time.Millisecond

// Call lets the publisher send Opus until the subscriber has got Packets RTP
// packets; ctx limits how long. Neither participant tells the SFU its
// candidates: so nothing of the SFU's can open its host's own firewall from
// inside, and media flows only if the ports are really open.
func Call(ctx context.Context, c Config) (Result, error) {
	networks, err := networkTypes(c.Network)
	if err != nil {
		return Result{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	sub, err := join(ctx, "subscriber", c, c.Subscriber, networks)
	if err != nil {
		return Result{}, err
	}
	defer sub.close()
	pub, err := join(ctx, "publisher", c, c.Publisher, networks)
	if err != nil {
		return Result{}, err
	}
	defer pub.close()

	track, err := pub.publish(ctx)
	if err != nil {
		return Result{}, err
	}
	err = flow(ctx, track, pub, sub, c.Packets)
	r := Result{Packets: int(sub.packets.Load()), Pair: pair(sub.sub)}
	if err != nil {
		return r, fmt.Errorf("%w; %d of %d RTP packets; ICE of the publisher %s, of the subscriber %s",
			err, r.Packets, c.Packets, pub.pub.ICEConnectionState(), sub.sub.ICEConnectionState())
	}
	return r, nil
}

// flow sends a frame at a time until enough packets have arrived.
func flow(ctx context.Context, track *webrtc.TrackLocalStaticSample, pub, sub *participant, want int) error {
	tick := time.NewTicker(frame)
	defer tick.Stop()
	for sub.packets.Load() < int64(want) {
		select {
		case <-tick.C:
			// One frame of silence. Until ICE is there it goes nowhere.
			if err := track.WriteSample(media.Sample{Data: []byte{0xfc, 0xff, 0xfe}, Duration: frame}); err != nil {
				return fmt.Errorf("send RTP: %w", err)
			}
		case err := <-pub.failed:
			return err
		case err := <-sub.failed:
			return err
		case <-ctx.Done():
			return fmt.Errorf("wait for media: %w", ctx.Err())
		}
	}
	return nil
}

// publish announces a track and negotiates it.
func (p *participant) publish(ctx context.Context) (*webrtc.TrackLocalStaticSample, error) {
	const id = "mic"
	track, err := webrtc.NewTrackLocalStaticSample(webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}, id, "callprobe")
	if err != nil {
		return nil, err
	}
	err = p.send(ctx, &livekit.SignalRequest{Message: &livekit.SignalRequest_AddTrack{AddTrack: &livekit.AddTrackRequest{
		Cid: id, Name: id, Type: livekit.TrackType_AUDIO, Source: livekit.TrackSource_MICROPHONE}}})
	if err != nil {
		return nil, err
	}
	select {
	case <-p.published:
	case err := <-p.failed:
		return nil, err
	case <-ctx.Done():
		return nil, fmt.Errorf("wait until the SFU takes the track: %w", ctx.Err())
	}
	if _, err := p.pub.AddTrack(track); err != nil {
		return nil, err
	}
	offer, err := p.pub.CreateOffer(nil)
	if err != nil {
		return nil, err
	}
	if err := p.pub.SetLocalDescription(offer); err != nil {
		return nil, err
	}
	return track, p.send(ctx, &livekit.SignalRequest{Message: &livekit.SignalRequest_Offer{Offer: description(offer, 1)}})
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

func networkTypes(network string) ([]webrtc.NetworkType, error) {
	switch network {
	case "udp":
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

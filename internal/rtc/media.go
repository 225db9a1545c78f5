package rtc

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/livekit/protocol/livekit"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media"
)

// What is sent is known: each packet says which track it belongs to and its number,
// so that what arrives is counted only where it is ours, and once. Nobody decodes
// it; LiveKit looks at no more than the first bytes (of Opus its configuration, of
// VP8 whether a frame stands alone: RFC 6716 section 3.1, RFC 6386 section 9.1).
const (
	audioFrame = 20 * time.Millisecond
	videoFrame = 40 * time.Millisecond
	audioBytes = 80  // about 32 kbit/s
	videoBytes = 900 // one packet each, about 180 kbit/s
	markBytes  = 16  // the track's nonce and the packet's number
)

var (
	opusHead = []byte{0xfc}
	// A key frame of 320x180 pixels.
	vp8Head = []byte{0x10, 0x02, 0x00, 0x9d, 0x01, 0x2a, 0x40, 0x01, 0xb4, 0x00}
)

// track is what a participant publishes.
type track struct {
	local *webrtc.TrackLocalStaticSample
	nonce uint64
	head  []byte
	size  int
	every time.Duration

	mu   sync.Mutex
	next uint64 // the number of the packet that is sent next
}

// publish announces audio and video and negotiates them.
func (p *participant) publish(ctx context.Context) ([]*track, error) {
	audio := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeOpus, ClockRate: 48000, Channels: 2}
	video := webrtc.RTPCodecCapability{MimeType: webrtc.MimeTypeVP8, ClockRate: 90000}
	tracks := []*track{
		{nonce: p.newNonce(), head: opusHead, size: audioBytes, every: audioFrame},
		{nonce: p.newNonce(), head: vp8Head, size: videoBytes, every: videoFrame},
	}
	for i, a := range []*livekit.AddTrackRequest{
		{Cid: "audio", Name: "audio", Type: livekit.TrackType_AUDIO, Source: livekit.TrackSource_MICROPHONE},
		{Cid: "video", Name: "video", Type: livekit.TrackType_VIDEO, Source: livekit.TrackSource_CAMERA, Width: 320, Height: 180},
	} {
		var err error
		if tracks[i].local, err = webrtc.NewTrackLocalStaticSample([]webrtc.RTPCodecCapability{audio, video}[i], a.Cid, "ecdeploy"); err != nil {
			return nil, err
		}
		if err := p.send(ctx, &livekit.SignalRequest{Message: &livekit.SignalRequest_AddTrack{AddTrack: a}}); err != nil {
			return nil, err
		}
		select {
		case <-p.published:
		case err := <-p.failed:
			return nil, err
		case <-time.After(requestTime):
			return nil, fmt.Errorf("the SFU does not take the %s", a.Cid)
		case <-ctx.Done():
			return nil, fmt.Errorf("wait until the SFU takes the %s: %w", a.Cid, context.Cause(ctx))
		}
		if _, err := p.pub.AddTrack(tracks[i].local); err != nil {
			return nil, err
		}
	}
	offer, err := p.pub.CreateOffer(nil)
	if err != nil {
		return nil, err
	}
	if err := p.pub.SetLocalDescription(offer); err != nil {
		return nil, err
	}
	return tracks, p.send(ctx, &livekit.SignalRequest{Message: &livekit.SignalRequest_Offer{Offer: description(offer, 1)}})
}

// newNonce is a nonce for a track: the call's mark, and then anything.
func (p *participant) newNonce() uint64 { return uint64(p.mark)<<32 | newNonce()>>32 }

// send sends frames until ctx ends. Until the connection stands they go nowhere.
func (t *track) send(ctx context.Context, p *participant) {
	tick := time.NewTicker(t.every)
	defer tick.Stop()
	frame := make([]byte, t.size)
	copy(frame, t.head)
	binary.BigEndian.PutUint64(frame[len(t.head):], t.nonce)
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		t.mu.Lock()
		binary.BigEndian.PutUint64(frame[len(t.head)+8:], t.next)
		t.next++
		t.mu.Unlock()
		if err := t.local.WriteSample(media.Sample{Data: frame, Duration: t.every}); err != nil {
			p.fail(fmt.Errorf("send RTP: %w", err))
			return
		}
	}
}

// arrival is what comes in of one track.
type arrival struct {
	kind string // "audio" or "video"
	from string // the participant who publishes it, by LiveKit's stream id
	ssrc webrtc.SSRC
	mark uint32 // what the nonces of the call begin with

	mu    sync.Mutex
	nonce uint64
	seen  map[uint64]bool // numbers of packets
	first uint64
	began time.Time
}

func newArrival(t *webrtc.TrackRemote, mark uint32) *arrival {
	return &arrival{mark: mark, kind: t.Kind().String(), from: t.StreamID(), ssrc: t.SSRC(), seen: map[uint64]bool{}}
}

// receive counts until the track ends.
func (a *arrival) receive(t *webrtc.TrackRemote) {
	for {
		packet, _, err := t.ReadRTP()
		if err != nil {
			return
		}
		body, head := packet.Payload, opusHead
		if a.kind == "video" {
			head = vp8Head
			if body, err = (&codecs.VP8Packet{}).Unmarshal(body); err != nil {
				continue // padding that LiveKit sends to measure the line
			}
		}
		if len(body) < len(head)+markBytes {
			continue
		}
		a.count(binary.BigEndian.Uint64(body[len(head):]), binary.BigEndian.Uint64(body[len(head)+8:]))
	}
}

// count counts a packet of the call's. An SFU sends some of its own: silence before the
// first audio, or padding; they say nothing of what arrives, and name no nonce.
func (a *arrival) count(nonce, n uint64) {
	if uint32(nonce>>32) != a.mark {
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if len(a.seen) == 0 {
		a.nonce, a.first, a.began = nonce, n, time.Now()
	}
	if nonce != a.nonce {
		return
	}
	a.seen[n] = true
	a.first = min(a.first, n)
}

// flow is what arrived of one of these tracks; no packets where it is of none. All
// that was sent after the first that arrived counts.
func (a *arrival) flow(tracks map[uint64]*track) (Flow, time.Time) {
	a.mu.Lock()
	defer a.mu.Unlock()
	f := Flow{Kind: a.kind}
	if t := tracks[a.nonce]; t != nil && len(a.seen) > 0 {
		t.mu.Lock()
		f.Sent = int(t.next - a.first)
		t.mu.Unlock()
		f.Packets = len(a.seen)
		f.Lost = f.Sent - f.Packets
	}
	return f, a.began
}

// errNoMedia says that not all media came through in time.
var errNoMedia = errors.New("no media arrives")

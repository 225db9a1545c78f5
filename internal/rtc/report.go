package rtc

import (
	"slices"
	"strings"
	"time"
)

// Status is how a link was seen.
type Status string

// What was not seen is never said to work: NotSeen stands where an earlier link
// that it needs is broken, or where nothing allows to look; its evidence says
// which.
const (
	OK      Status = "ok"
	Warning Status = "warning" // works, or nobody's call depends on it; a person should know
	Failed  Status = "failed"
	NotSeen Status = "not seen"
)

// Side is where the cause of a failure lies.
type Side string

// A failure on the host's side is one that everybody meets; what lies on the way
// (a name that has not spread, a firewall in front of the host) or at the laptop
// (a network without UDP, a wrong clock) says nothing of what was deployed.
const (
	HostSide   Side = "host"
	WaySide    Side = "way"
	LaptopSide Side = "laptop"
)

// Part groups links for people; the parts are the hops of a call's path.
type Part string

// The parts, in their order.
const (
	Hosts      Part = "hosts"      // clocks, disks and containers
	Names      Part = "names"      // DNS and TLS
	Homeserver Part = "homeserver" // Synapse and the client well-known
	Auth       Part = "auth"       // the JWT service, and who it asks
	Signalling Part = "signalling" // LiveKit through the proxy
	Media      Part = "media"
	AsUser     Part = "user" // as a Matrix user
)

// Parts lists all parts in the order of a call.
func Parts() []Part { return []Part{Hosts, Names, Homeserver, Auth, Signalling, Media, AsUser} }

// Link is one thing that a call needs, and how it was seen.
type Link struct {
	ID       string        `json:"id"`   // "tls.sfu": the same in every report
	Name     string        `json:"name"` // "the certificate of matrix-rtc-sfu.example.org"
	Part     Part          `json:"part"`
	From     string        `json:"from"` // "laptop", or the name of the host that looked
	Status   Status        `json:"status"`
	Code     Code          `json:"code,omitempty"`  // of a failure or a warning; Explain has words for it
	Side     Side          `json:"side,omitempty"`  // of a failure
	After    string        `json:"after,omitempty"` // of one that was not seen: the id of the broken link that hides it
	Took     time.Duration `json:"took"`            // nanoseconds
	Evidence []string      `json:"evidence,omitempty"`
}

// Flow is what media of one kind came to, from one participant to another.
type Flow struct {
	Network string  `json:"network"` // "udp4", "tcp4", "udp6", "tcp6" or "turn"
	Kind    string  `json:"kind"`    // "audio" or "video"
	Sent    int     `json:"sent"`    // RTP packets, from the first that arrived on
	Packets int     `json:"packets"` // RTP packets that arrived
	Lost    int     `json:"lost"`    // those that did not
	Jitter  float64 `json:"jitter_ms"`
	RTT     float64 `json:"rtt_ms"` // of the connectivity checks on the chosen pair; 0 where it is not known
	Pair    string  `json:"pair"`   // "prflx udp 10.0.0.2:4711 -> host udp 203.0.113.10:50123"
}

// Load is what a call of many participants came to.
type Load struct {
	Participants int     `json:"participants"`  // who were to be in the call
	Joined       int     `json:"joined"`        // who were in it
	Seconds      float64 `json:"seconds"`       // how long media flowed
	Flows        int     `json:"flows"`         // one for each publisher and each who listens
	Arrived      int     `json:"flows_arrived"` // of these, those with media
	Packets      int     `json:"packets"`       // RTP packets that arrived, over all flows
	Expected     int     `json:"expected"`      // that should have arrived, over all flows
	WorstLoss    float64 `json:"worst_loss"`    // of one flow; 0 to 1
}

// Report is what was seen of one site.
type Report struct {
	Site  string        `json:"site"`
	From  string        `json:"from"` // "laptop"
	Began time.Time     `json:"began"`
	Took  time.Duration `json:"took"`  // nanoseconds
	Links []Link        `json:"links"` // in the order of a call
	Flows []Flow        `json:"flows"`
	Load  *Load         `json:"load,omitempty"`
	// Explained has words for each code in Links, in the order of Links.
	Explained []Explanation `json:"explained"`
}

// Proved reports whether a call was seen to work: no link failed, and media came
// by each way that was tried, of which there is one at least.
func (r Report) Proved() bool {
	media := 0
	for _, l := range r.Links {
		switch {
		case l.Status == Failed:
			return false
		case !strings.HasPrefix(l.ID, "media."):
		case l.Status == NotSeen:
			return false
		default:
			media++
		}
	}
	return media > 0
}

// HiddenBy is the failure that a link which was not seen follows from; ok is false
// where nothing says why it was not seen.
func (r Report) HiddenBy(l Link) (cause Link, ok bool) {
	for range r.Links { // no longer than that is any chain
		i := slices.IndexFunc(r.Links, func(o Link) bool { return o.ID == l.After })
		if l.After == "" || i < 0 {
			return Link{}, false
		}
		if l = r.Links[i]; l.Status == Failed {
			return l, true
		}
	}
	return Link{}, false
}

// Broken is the first failure in the order of a call: what comes after it may
// follow from it. ok is false where nothing failed.
func (r Report) Broken() (first Link, ok bool) {
	i := slices.IndexFunc(r.Links, func(l Link) bool { return l.Status == Failed })
	if i < 0 {
		return Link{}, false
	}
	return r.Links[i], true
}

// explain fills Explained.
func (r *Report) explain() {
	r.Explained = []Explanation{}
	seen := map[Code]bool{}
	for _, l := range r.Links {
		if l.Code == "" || seen[l.Code] {
			continue
		}
		seen[l.Code] = true
		if e, ok := explanation(l.Code); ok {
			r.Explained = append(r.Explained, e)
		}
	}
}

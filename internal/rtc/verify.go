package rtc

import (
	"context"
	"crypto/x509"
	"fmt"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"time"

	"github.com/emdecloud/ecdeploy/steps"
)

// Scope is which part of a site is looked at.
type Scope int

// What a run has deployed is looked at before it is announced; what announces it
// can only be looked at afterwards.
const (
	Whole     Scope = iota
	Deployed        // names, containers, the JWT service, LiveKit, media
	Announced       // Synapse, the client well-known, the way to the homeserver
)

// verifyTime bounds all of one Verify besides the seconds of media, of which there
// are up to four times: over UDP and TCP at once, over TURN, of many, as a user.
const verifyTime = 2 * time.Minute

// Verify goes the way of a call, link by link, and says what it saw. What is
// wrong with the site stands in the report; an error means that nothing could be
// looked at (ctx ended).
func Verify(ctx context.Context, t Target, scope Scope) (Report, error) {
	whole := ctx
	ctx, cancel := context.WithTimeout(ctx, verifyTime+4*t.Duration)
	defer cancel()
	k := &verifier{Target: t, scope: scope, links: map[string]Link{}, names: t.names(), seen: map[string]*machine{}}
	r := Report{Site: t.Site.Name, From: laptop, Began: t.Now(), Flows: []Flow{}}
	began := time.Now()
	k.lookAtHosts(ctx)
	k.lookAtNames(ctx)
	if scope != Deployed {
		k.lookAtHomeserver(ctx)
	}
	k.lookAtAuth(ctx)
	if scope != Announced {
		k.lookAtSFU(ctx, &r)
		k.lookFromHosts(ctx)
	}
	if t.User != nil && scope == Whole {
		k.lookAsUser(ctx)
	}
	r.Took = time.Since(began)
	r.Links = k.inOrder()
	r.explain()
	return r, context.Cause(whole)
}

// verifier is one look at a site.
type verifier struct {
	Target
	scope Scope
	names []*name

	blaming sync.Mutex // held by who looks at counters

	mu    sync.Mutex
	order []string        // ids of links, as they were asked for
	links map[string]Link // by id

	seen   map[string]*machine // by host name; what lookAtHosts found
	offset time.Duration       // of the hosts' clocks to the laptop's
	base   string              // of the client-server API
	config *steps.HomeserverState
}

// now is the time as the hosts have it: a wrong clock of the laptop is one
// failure, and not the cause of ten others.
func (k *verifier) now() time.Time { return k.Now().Add(k.offset) }

// client is Target's, by the hosts' time.
func (k *verifier) client(v vantage, roots *x509.CertPool) *http.Client {
	t := k.Target
	t.Now = k.now
	return t.client(v, roots)
}

// by is a client that reaches a name of the site as it was found to be reached.
func (k *verifier) by(id string) *http.Client { return k.client(k.named(id).route, k.Roots) }

// result is how one link was seen.
type result struct {
	status   Status
	code     Code
	side     Side
	evidence []string
	from     string
	after    string // the link that hides this one
}

func good(evidence ...string) result { return result{status: OK, evidence: evidence} }

func bad(code Code, side Side, evidence ...string) result {
	return result{status: Failed, code: code, side: side, evidence: evidence}
}

func warn(code Code, evidence ...string) result {
	return result{status: Warning, code: code, evidence: evidence}
}

func unseen(why string) result { return result{status: NotSeen, evidence: []string{why}} }

// linkCheck is a link to be looked at. needs are ids of links without which nothing
// can be told of it.
type linkCheck struct {
	id, name string
	part     Part
	needs    []string
	via      string // the name of the site that it is reached by, by its id; "" for none
	do       func(context.Context) result
}

// all looks at several links at once.
func (k *verifier) all(ctx context.Context, checks ...linkCheck) {
	k.mu.Lock()
	for _, l := range checks {
		if !slices.Contains(k.order, l.id) {
			k.order = append(k.order, l.id)
		}
	}
	k.mu.Unlock()
	var looking sync.WaitGroup
	for _, l := range checks {
		looking.Go(func() { k.one(ctx, l) })
	}
	looking.Wait()
}

// reserve gives links that are looked at later their places.
func (k *verifier) reserve(ids ...string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.order = append(k.order, ids...)
}

func (k *verifier) one(ctx context.Context, l linkCheck) {
	began := time.Now()
	r := k.blocked(l.needs)
	switch {
	case r.status != "":
	case ctx.Err() != nil:
		r = unseen("there was no time left to look")
	default:
		if r = l.do(ctx); ctx.Err() != nil && r.status != OK {
			r = unseen("there was no time left to look")
		}
	}
	if n := k.named(l.via); r.from == "" && n != nil {
		r.from = n.route.name
	}
	if r.from == "" {
		r.from = laptop
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	k.links[l.id] = Link{
		ID:       l.id,
		Name:     l.name,
		Part:     l.part,
		From:     r.from,
		Status:   r.status,
		Code:     r.code,
		Side:     r.side,
		After:    r.after,
		Took:     time.Since(began),
		Evidence: cleaned(k.redact(r.evidence)),
	}
}

// blocked is why a link cannot be looked at; zero where it can.
func (k *verifier) blocked(needs []string) result {
	for _, id := range needs {
		if l, ok := k.link(id); ok && (l.Status == Failed || l.Status == NotSeen) {
			r := unseen("not looked at: " + l.Name + " comes first")
			r.after = id
			return r
		}
	}
	return result{}
}

func (k *verifier) link(id string) (Link, bool) {
	k.mu.Lock()
	defer k.mu.Unlock()
	l, ok := k.links[id]
	return l, ok
}

// inOrder are the links in the order of a call.
func (k *verifier) inOrder() []Link {
	var out []Link
	for _, part := range Parts() {
		for _, id := range k.order {
			if l, ok := k.links[id]; ok && l.Part == part {
				out = append(out, l)
			}
		}
	}
	return out
}

// name is a public name of the site.
type name struct {
	id     string // "sfu", "auth", "server", "homeserver"
	host   string // as a URL has it, without a port
	port   string
	front  string // the host that serves it, or else one that reaches it
	serves bool   // front serves it by itself
	path   string // what answers there, without credentials
	status int    // with which HTTP status

	addrs []netip.Addr
	route vantage // how it is reached from here on
}

// names are the public names that a call needs, each once.
func (t Target) names() []*name {
	var out []*name
	add := func(id, host, front, path string, status int) {
		port := "443"
		if h, p, ok := cutPort(host); ok {
			host, port = h, p
		}
		n := &name{id: id, host: host, port: port, front: front, serves: front != "", path: path, status: status, route: here()}
		if !n.serves {
			n.front = t.Auth.Host
		}
		out = append(out, n)
	}
	sfu, auth := hostOf(t.SFU.URL), hostOf(t.Auth.URL)
	add("sfu", sfu, t.frontOf(t.SFU), pathOf(t.SFU.URL)+"/", 200)
	add("auth", auth, t.frontOf(t.Auth), pathOf(t.Auth.URL)+"/healthz", 200)
	add("server", t.Site.Domain(), t.WellKnownHost, "/.well-known/matrix/client", 200)
	return out
}

// frontOf is the host whose proxy serves a service; "" where that is not known.
func (t Target) frontOf(s Service) string {
	front := t.Site.Front(s.Host)
	if _, ok := t.Hosts[front]; !ok || s.Host == "" {
		return ""
	}
	if _, ok := t.Site.ProxyOn(front); !ok {
		return ""
	}
	return front
}

// named is the name with that id.
func (k *verifier) named(id string) *name {
	for _, n := range k.names {
		if n.id == id {
			return n
		}
	}
	return nil
}

// frontVantage looks from the host of a name's proxy, at that proxy; where the
// proxy is somebody else's, by the name as that host knows it.
func (k *verifier) frontVantage(n *name) (vantage, bool) {
	h, ok := k.Hosts[n.front]
	if !ok {
		return vantage{}, false
	}
	if at := k.HTTPS[n.front]; at != "" && n.serves {
		return on(h).to(at), true
	}
	return on(h), true
}

func answers(status int, what string) string { return fmt.Sprintf("%s answers %d", what, status) }

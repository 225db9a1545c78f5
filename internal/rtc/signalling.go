package rtc

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync"
	"time"

	"github.com/coder/websocket"

	"github.com/emdecloud/ecdeploy/internal/livekit"
)

// holdTime is how long a WebSocket is kept silent: LiveKit's clients ping every
// five seconds and LiveKit every ten, so a proxy has to bear that.
const holdTime = 7 * time.Second

// rooms of our own on LiveKit: one for each kind of media, one to be silent in.
type rooms struct {
	prefix string
	mu     sync.Mutex
	made   []string
}

func (r *rooms) name(of string) string { return r.prefix + of }

// lookAtSFU looks at LiveKit through the proxy, and holds calls on it.
func (k *verifier) lookAtSFU(ctx context.Context, r *Report) {
	room := &rooms{prefix: fmt.Sprintf("ecdeploy-verify-%x-", newNonce())}
	defer k.removeRooms(ctx, room)
	up := []string{"container.sfu", "tls.sfu"}
	k.all(ctx, linkCheck{id: "sfu.root", name: "LiveKit at " + k.SFU.URL, part: Signalling, needs: up, via: "sfu", do: k.root})
	k.all(ctx,
		linkCheck{
			id:    "sfu.create",
			name:  "rooms are made with the JWT service's credentials",
			part:  Signalling,
			needs: append(up, "sfu.root"),
			via:   "sfu",
			do:    func(ctx context.Context) result { return k.create(ctx, room) },
		},
		linkCheck{
			id:    "sfu.create-inside",
			name:  "the way from the JWT service to LiveKit",
			part:  Signalling,
			needs: append(up, "sfu.root", "container.auth"),
			do:    func(ctx context.Context) result { return k.createInside(ctx, room) },
		})
	need := append(up, "sfu.root", "sfu.create")
	k.all(ctx,
		linkCheck{id: "sfu.auto-create", name: "LiveKit makes no room for whoever asks", part: Signalling, needs: need, via: "sfu", do: k.autoCreate},
		linkCheck{
			id:    "sfu.validate",
			name:  "LiveKit takes a token for a room",
			part:  Signalling,
			needs: need,
			via:   "sfu",
			do:    func(ctx context.Context) result { return k.validate(ctx, room) },
		})
	// A silent WebSocket and media take seconds: both at once.
	opened := make(chan struct{})
	var holding sync.WaitGroup
	holding.Go(func() {
		k.all(ctx,
			linkCheck{
				id:    "sfu.websocket",
				name:  "WebSockets through the proxy",
				part:  Signalling,
				needs: need,
				via:   "sfu",
				do:    func(ctx context.Context) result { return k.hold(ctx, room, opened) },
			})
		select {
		case <-opened:
		default:
			close(opened)
		}
	})
	<-opened
	k.lookAtMedia(ctx, room, need, r)
	holding.Wait()
}

func (k *verifier) root(ctx context.Context) result {
	url := k.SFU.URL + "/"
	a := k.ask(ctx, "sfu", http.MethodGet, url, nil, "", "path-not-routed")
	switch {
	case a.lost != nil:
		return *a.lost
	case a.StatusCode != http.StatusOK || !strings.Contains(string(a.body), "OK"):
		return k.misrouted(ctx, a, url, k.SFU.Host, k.SFU.Local, "/", http.StatusOK)
	}
	return good(url + " answers 200 OK")
}

// service is LiveKit's room service at base, asked with the hosts' time.
func (k *verifier) service(client *http.Client, base string, keys livekit.Pair) livekit.Rooms {
	return livekit.Rooms{Client: client, URL: base, Pair: keys, Now: k.now}
}

// makeRoom makes a room that ends by itself half a minute after everybody left. Who
// refuses it is no error but a status and what was said with it.
func (k *verifier) makeRoom(ctx context.Context, client *http.Client, base string, keys livekit.Pair, r *rooms, of string) (int, string, error) {
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	err := k.service(client, base, keys).Create(ctx, livekit.NewRoom{Name: r.name(of), Empty: 30 * time.Second, Departure: 10 * time.Second})
	if refused, ok := errors.AsType[*livekit.StatusError](err); ok {
		return refused.Status, refused.Body, nil
	}
	if err != nil {
		return 0, "", err
	}
	r.mu.Lock()
	r.made = append(r.made, r.name(of))
	r.mu.Unlock()
	return http.StatusOK, "", nil
}

// removeRooms takes away what was made, whatever happened.
func (k *verifier) removeRooms(ctx context.Context, r *rooms) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), requestTime)
	defer cancel()
	var removing sync.WaitGroup
	for _, name := range r.made {
		removing.Go(func() {
			// A room that stays ends by itself.
			_ = k.service(k.client(k.onHost(k.SFU.Host), nil), k.SFU.Local, k.Keys).Delete(ctx, name)
		})
	}
	removing.Wait()
}

// create makes rooms as the JWT service does: with its credentials, over LiveKit's
// public address.
func (k *verifier) create(ctx context.Context, r *rooms) result {
	client, base := k.by("sfu"), k.SFU.URL
	try := func(v vantage) (int, string, error) {
		return k.makeRoom(ctx, k.client(v, k.Roots), base, k.Issues, r, "silent")
	}
	status, said, err := try(k.named("sfu").route)
	if err != nil { // once more, as ask does
		status, said, err = try(k.named("sfu").route)
	}
	switch {
	case err != nil:
		return k.between(k.named("sfu"), err, "twirp-blocked", func(v vantage) error { _, _, err := try(v); return err })
	case status == http.StatusUnauthorized:
		return k.refused(ctx, said)
	case status != http.StatusOK:
		return k.noTwirp(ctx, r, status)
	}
	for _, n := range k.networks() {
		if status, said, err := k.makeRoom(ctx, client, base, k.Issues, r, n.network); err != nil || status != http.StatusOK {
			return bad("twirp-blocked", HostSide, fmt.Sprintf("CreateRoom answers %d %s", status, short(said)))
		}
	}
	return good("CreateRoom answers 200")
}

// refused tells whose credentials are wrong.
func (k *verifier) refused(ctx context.Context, said string) result {
	evidence := []string{"CreateRoom with the JWT service's credentials answers 401: " + short(said)}
	if k.Keys == k.Issues {
		return bad("key-unknown", HostSide, append(evidence, "LiveKit's key file and the JWT service's files hold the same credentials")...)
	}
	ctx, cancel := context.WithTimeout(ctx, requestTime)
	defer cancel()
	if _, err := k.service(k.client(k.onHost(k.SFU.Host), nil), k.SFU.Local, k.Keys).List(ctx); err == nil {
		return bad("secret-differs", HostSide, append(evidence, "with those of LiveKit's own key file it answers 200")...)
	}
	return bad("secret-differs", HostSide, append(evidence, "LiveKit's key file and the JWT service's files hold different credentials")...)
}

func (k *verifier) noTwirp(ctx context.Context, r *rooms, status int) result {
	evidence := []string{fmt.Sprintf("CreateRoom at %s answers %d", k.SFU.URL, status)}
	local, _, err := k.makeRoom(ctx, k.client(k.onHost(k.SFU.Host), nil), k.SFU.Local, k.Issues, r, "local")
	if err == nil {
		evidence = append(evidence, fmt.Sprintf("on %s itself it answers %d", k.SFU.Host, local))
	}
	return bad("twirp-blocked", HostSide, evidence...)
}

// createInside goes the JWT service's own way, from its network.
func (k *verifier) createInside(ctx context.Context, r *rooms) result {
	roots, err := k.jwtRoots(ctx)
	if err != nil {
		return unseen(err.Error())
	}
	resp, body, err := k.makeRoom(ctx, k.client(k.inContainer(ctx), roots), k.SFU.URL, k.Issues, r, "inside")
	out := good("CreateRoom from there answers 200")
	switch {
	case err != nil:
		code := Code("hairpin")
		if _, untrusted := certificate(err); untrusted {
			code = "openid-certificate"
		}
		out = bad(code, HostSide, err.Error(), "from "+k.named("sfu").route.name+" the same address works")
	case resp == http.StatusUnauthorized: // sfu.create says why
		out = good("LiveKit answers there: 401")
	case resp != http.StatusOK:
		out = bad("hairpin", HostSide, fmt.Sprintf("from there CreateRoom answers %d: %s", resp, short(body)), "the name leads somewhere else there")
	}
	out.from = k.Auth.Host
	return out
}

// askValidate asks LiveKit what it would say to who joins a room. The token in the
// URL is taken out of all that is told.
func (k *verifier) askValidate(ctx context.Context, room string) asked {
	jwt := k.Issues.Token("ecdeploy-validate", livekit.Grant{Room: room, RoomJoin: true}, k.now())
	return k.ask(ctx, "sfu", http.MethodGet, k.SFU.URL+"/rtc/validate?access_token="+jwt, nil, "", "signalling-lost")
}

// autoCreate wants that a room nobody made stays unknown. The JWT service then
// decides who makes rooms.
func (k *verifier) autoCreate(ctx context.Context) result {
	a := k.askValidate(ctx, fmt.Sprintf("ecdeploy-verify-nobody-made-%x", newNonce()))
	switch {
	case a.lost != nil:
		return *a.lost
	case a.StatusCode == http.StatusOK:
		return bad("auto-create-on", HostSide, "a token for a room that nobody made is taken: "+short(string(a.body)))
	case a.StatusCode == http.StatusUnauthorized:
		return bad("key-unknown", HostSide, "/rtc/validate answers 401: "+short(string(a.body)))
	case a.StatusCode != http.StatusNotFound:
		return bad("signalling-lost", HostSide, fmt.Sprintf("/rtc/validate answers %d: %s", a.StatusCode, short(string(a.body))))
	}
	return good("a room that nobody made is refused: 404")
}

func (k *verifier) validate(ctx context.Context, r *rooms) result {
	a := k.askValidate(ctx, r.name("silent"))
	switch {
	case a.lost != nil:
		return *a.lost
	case a.StatusCode == http.StatusUnauthorized:
		return bad("key-unknown", HostSide, "/rtc/validate answers 401: "+short(string(a.body)))
	case a.StatusCode != http.StatusOK:
		return bad("signalling-lost", HostSide, fmt.Sprintf("/rtc/validate answers %d: %s", a.StatusCode, short(string(a.body))))
	}
	return good("/rtc/validate answers 200 " + short(string(a.body)))
}

// hold opens LiveKit's WebSocket, and another one that is silent. opened is closed
// as soon as the first is open.
func (k *verifier) hold(ctx context.Context, r *rooms, opened chan struct{}) result {
	jwt := k.joinToken("silent", r.name("silent"))
	ws, err := k.openWebSocket(ctx, k.named("sfu").route, jwt)
	if err != nil && statusOf(err) == 0 { // once more, as ask does
		ws, err = k.openWebSocket(ctx, k.named("sfu").route, jwt)
	}
	if err != nil {
		return k.noWebSocket(ctx, err, jwt)
	}
	defer func() { _ = ws.CloseNow() }()
	close(opened)
	if k.scope == Deployed {
		return good("it opens") // a run does not wait to see how long it stays open
	}
	return k.silence(ctx)
}

// silence holds a WebSocket on which nobody says anything. On that of a participant
// LiveKit speaks up every few seconds; from an agent's it waits ten seconds for the
// first word (livekit v1.13.5, pkg/agent/worker.go, RegisterTimeout). None is
// registered.
func (k *verifier) silence(ctx context.Context) result {
	jwt := k.Issues.Token("ecdeploy-silent", livekit.Grant{Agent: true}, k.now())
	ws, err := openSocket(ctx, k.by("sfu"), k.SFU.WebSocket+"/agent", nil, jwt)
	if err != nil {
		return good("it opens", "how long a silent one stays open was not seen: "+err.Error())
	}
	defer func() { _ = ws.Close(websocket.StatusNormalClosure, "") }()
	began := time.Now()
	hold, cancel := context.WithTimeout(ctx, holdTime)
	defer cancel()
	_, _, err = ws.Read(hold)
	lived := time.Since(began).Round(100 * time.Millisecond)
	switch {
	case ctx.Err() != nil:
		return unseen("there was no time left to look")
	case hold.Err() != nil:
		return good(fmt.Sprintf("it opens, and a silent one stays open for %s", lived))
	case err != nil:
		return bad("proxy-timeout", HostSide, fmt.Sprintf("a silent one was ended after %s, when LiveKit would wait for 10s", lived))
	}
	return good("it opens", "how long a silent one stays open was not seen: LiveKit spoke first")
}

func (k *verifier) openWebSocket(ctx context.Context, v vantage, jwt string) (*websocket.Conn, error) {
	return openSignalling(ctx, k.client(v, k.Roots), k.SFU.WebSocket, jwt)
}

// statusOf is the HTTP status that a WebSocket was refused with; 0 for none.
func statusOf(err error) int {
	if e, ok := errors.AsType[*joinError](err); ok {
		return e.status
	}
	return 0
}

func (k *verifier) noWebSocket(ctx context.Context, err error, jwt string) result {
	switch statusOf(err) {
	case 0:
		return k.between(k.named("sfu"), err, "no-upgrade", func(v vantage) error {
			ws, err := k.openWebSocket(ctx, v, jwt)
			if err == nil {
				_ = ws.CloseNow()
			}
			return err
		})
	case http.StatusUnauthorized:
		return bad("key-unknown", HostSide, err.Error())
	}
	return bad("no-upgrade", HostSide, err.Error())
}

// joinToken lets a participant of ours into a room of ours.
func (k *verifier) joinToken(identity, room string) string {
	return k.Issues.Token("ecdeploy-"+identity, livekit.Grant{Room: room, RoomJoin: true, CanPublish: true, CanSubscribe: true}, k.now())
}

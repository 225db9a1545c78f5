package main

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/livekit/protocol/auth"
	"github.com/livekit/protocol/livekit"
	"google.golang.org/protobuf/proto"

	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
)

// New credentials on a real LiveKit, in two steps: what it accepts after each,
// what is said of the people on it, and that a step that fails changes nothing.
func TestE2ERotate(t *testing.T) {
	lab.Require(t)
	t.Parallel()
	h := lab.Up(t, lab.Light, "rotate")[0]
	c := newCLI(t)
	text := rotatePlan(t, h, "")
	plan := planFile(t, text)
	s := sfu{t, "http://" + h.IP + ":7880"}
	h.Exec(t, "ufw allow 7880/tcp >/dev/null")

	if out := c.run(t, exitError, "secrets", "rotate", "--yes", plan); !strings.Contains(out, "hint: ecdeploy apply makes them") {
		t.Errorf("before the first deploy:\n%s", out)
	}
	if out := c.run(t, exitOK, "apply", "--yes", plan); strings.Contains(out, "LiveKit restarts") {
		t.Errorf("a first deploy restarts nothing:\n%s", out)
	}
	first := c.secrets(t, plan)
	s.wait(first)

	runPhase(t, "a rotation that fails changes nothing", func(t *testing.T) { c.rotateInVain(t, h, s, plan, first) })
	runPhase(t, "finish with nothing to finish", func(t *testing.T) {
		before := h.Snapshot(t)
		if out := c.run(t, exitOK, "secrets", "rotate", "--finish", "--yes", plan); !strings.Contains(out, "there is nothing to finish") {
			t.Error(out)
		}
		compareSnapshots(t, "nothing to finish", before, h.Snapshot(t))
	})

	s.join(first, "room a", "alice")
	s.join(first, "room a", "bob")
	s.join(first, "room b", "carol")
	s.wait(first, `"num_participants":2`, `"num_participants":1`) // it counts every five seconds
	out := c.run(t, exitOK, "secrets", "rotate", "--yes", plan)
	said, _, _ := strings.Cut(out, "rotate.test: lock")
	for _, want := range []string{"rotate.test: LiveKit restarts, which interrupts 2 calls now, with 3 participants", "LiveKit accepts the old LIVEKIT_KEY, too", "secrets rotate --finish, which restarts LiveKit once more"} {
		if !strings.Contains(said, want) {
			t.Errorf("before anything changes it does not say %q:\n%s", want, said)
		}
	}
	second := c.secrets(t, plan)
	s.wait(second)
	runPhase(t, "both are accepted", func(t *testing.T) { s.both(t, h, second, first) })
	runPhase(t, "apply changes nothing", func(t *testing.T) { c.inBetween(t, h, plan) })

	jwt := h.Exec(t, "docker inspect -f '{{.State.StartedAt}}' element-call-jwt")
	out = c.run(t, exitOK, "secrets", "rotate", "--finish", "--yes", plan)
	if !strings.Contains(out, "tokens made with the old LIVEKIT_KEY are refused") {
		t.Errorf("what finishing interrupts is not said:\n%s", out)
	}
	s.wait(second)
	s.checkStatus(first, http.StatusUnauthorized)
	checkKeys(t, h, second)
	if h.Exec(t, "docker inspect -f '{{.State.StartedAt}}' element-call-jwt") != jwt {
		t.Error("the JWT service was restarted")
	}
	if out := c.run(t, exitOK, "apply", "--yes", plan); !strings.Contains(out, "nothing to do") || strings.Contains(out, "old LIVEKIT_KEY") {
		t.Errorf("an apply after it:\n%s", out)
	}
	runPhase(t, "to what the plan file gives", func(t *testing.T) { c.rotateGiven(t, h, s, second) })
	for _, k := range []credentials{first, second} {
		if printed := c.all.String(); strings.Contains(printed, k.key) || strings.Contains(printed, k.secret) {
			t.Error("credentials are in the output")
		}
	}
}

// rotateInVain fails after LiveKit has both pairs and before the JWT service has
// the new one.
func (c *cli) rotateInVain(t *testing.T, h *lab.Host, s sfu, plan string, first credentials) {
	dir := "/etc/ecdeploy/rotate.test/auth"
	h.Exec(t, "mount --bind "+dir+" "+dir+" && mount -o remount,ro,bind "+dir)
	before := h.Snapshot(t)
	out := c.run(t, exitRolledBack, "secrets", "rotate", "--yes", plan)
	if !strings.Contains(out, "ok ~ container livekit-sfu") || !strings.Contains(out, "failed ~ container element-call-jwt") {
		t.Errorf("it did not fail in the middle:\n%s", out)
	}
	compareSnapshots(t, "the rotation that failed", before, h.Snapshot(t))
	h.Exec(t, "umount "+dir)
	if c.secrets(t, plan) != first {
		t.Error("other credentials are in use now")
	}
	s.wait(first)
}

// both wants that LiveKit accepts both pairs, and gives either of their keys to
// people on calls: that is why finishing a rotation may interrupt them.
func (s sfu) both(t *testing.T, h *lab.Host, second, first credentials) {
	if second == first {
		t.Fatal("the credentials are as before")
	}
	s.checkStatus(first, http.StatusOK)
	s.checkStatus(second, http.StatusOK)
	wrong := first
	wrong.secret = second.secret
	s.checkStatus(wrong, http.StatusUnauthorized)
	checkKeys(t, h, second, first)
	seen := map[string]bool{}
	for i := 0; i < 60 && len(seen) < 2; i++ {
		seen[s.join(second, "room c", fmt.Sprintf("somebody%d", i))] = true
	}
	if !seen[first.key] || !seen[second.key] {
		t.Errorf("of both keys %d were used", len(seen))
	}
}

// inBetween is all that changes nothing between the two steps.
func (c *cli) inBetween(t *testing.T, h *lab.Host, plan string) {
	before := h.Snapshot(t)
	for _, args := range [][]string{{"apply", "--yes", plan}, {"plan", "--detailed-exitcode", plan}} {
		if out := c.run(t, exitOK, args...); !strings.Contains(out, "nothing to do") || !strings.Contains(out, "note: LiveKit accepts the old LIVEKIT_KEY, too") {
			t.Errorf("%v:\n%s", args, out)
		}
	}
	if out := c.run(t, exitOK, "status", plan); !strings.Contains(out, "no drift") || !strings.Contains(out, "secrets rotate --finish") {
		t.Error(out)
	}
	if out := c.withoutOutput().run(t, exitOK, "secrets", "show", plan); !strings.Contains(out, "# LiveKit accepts an old pair, too") {
		t.Error("secrets show says nothing of the old pair")
	}
	if out := c.run(t, exitError, "secrets", "rotate", "--yes", plan); !strings.Contains(out, "it is left out: LiveKit accepts its old LIVEKIT_KEY still") {
		t.Errorf("a rotation in a rotation:\n%s", out)
	}
	compareSnapshots(t, "in between", before, h.Snapshot(t))
}

// rotateGiven goes to credentials of the plan file, and back by a rollback.
func (c *cli) rotateGiven(t *testing.T, h *lab.Host, s sfu, before credentials) {
	given := credentials{"TheKeyOfThisTest", "TheSecretOfThisTest0123456789abcdefghijklmnop"}
	plan := planFile(t, rotatePlan(t, h, fmt.Sprintf("livekit_keys {\n    key    = %q\n    secret = %q\n  }", given.key, given.secret)))
	if out := c.run(t, exitOK, "plan", plan); !strings.Contains(out, "warning: LIVEKIT_KEY and LIVEKIT_SECRET change at once") {
		t.Error(out)
	}
	c.run(t, exitOK, "secrets", "rotate", "--yes", plan)
	s.wait(given)
	s.checkStatus(before, http.StatusOK)
	checkKeys(t, h, given, before)
	if out := c.run(t, exitOK, "apply", "--yes", plan); !strings.Contains(out, "nothing to do") {
		t.Error(out)
	}
	c.run(t, exitOK, "rollback", "--yes", plan)
	s.wait(before)
	s.checkStatus(given, http.StatusUnauthorized)
	checkKeys(t, h, before)
	c.run(t, exitOK, "secrets", "rotate", "--yes", plan)
	c.run(t, exitOK, "secrets", "rotate", "--finish", "--yes", plan)
	s.wait(given)
	s.checkStatus(before, http.StatusUnauthorized)
	if out := c.run(t, exitError, "secrets", "rotate", "--yes", plan); !strings.Contains(out, "first change them where livekit_keys takes them from") {
		t.Errorf("a rotation to the same:\n%s", out)
	}
	if printed := c.all.String(); strings.Contains(printed, given.key) || strings.Contains(printed, given.secret) {
		t.Error("credentials of the plan file are in the output")
	}
}

// rotatePlan is a site of two containers, whose LiveKit this test can reach.
func rotatePlan(t *testing.T, h *lab.Host, keys string) string {
	t.Helper()
	node := "    node_ip = \"" + h.IP + "\"\n"
	return strings.NewReplacer(node, node+"    bind    = \""+h.IP+"\"\n", "  verify {", "  "+keys+"\n  verify {").Replace(lightText(t, h, `user = "root"`))
}

// credentials are a LIVEKIT_KEY and a LIVEKIT_SECRET.
type credentials struct{ key, secret string }

// withoutOutput keeps nothing of what it prints: that is meant to hold credentials.
func (c *cli) withoutOutput() *cli { return &cli{bin: c.bin, known: c.known, env: c.env} }

// secrets are those that `secrets show` prints.
func (c *cli) secrets(t *testing.T, plan string) credentials {
	t.Helper()
	got := regexp.MustCompile(`(?m)^LIVEKIT_KEY=(\w+)\nLIVEKIT_SECRET=(\w+)$`).FindStringSubmatch(c.withoutOutput().run(t, exitOK, "secrets", "show", plan))
	if got == nil {
		t.Fatal("secrets show prints no credentials")
	}
	return credentials{got[1], got[2]}
}

// checkKeys looks for these credentials, and no others, on the host: in LiveKit's key
// file all, in use the first.
func checkKeys(t *testing.T, h *lab.Host, keys ...credentials) {
	t.Helper()
	want := ""
	for _, k := range keys {
		want += k.key + ": " + k.secret + "\n"
	}
	if h.Exec(t, "cat /etc/ecdeploy/rotate.test/sfu/keys.yaml") != want {
		t.Error("LiveKit's key file holds something else")
	}
	if h.Exec(t, "cat /etc/ecdeploy/rotate.test/auth/key /etc/ecdeploy/rotate.test/auth/secret") != keys[0].key+"\n"+keys[0].secret+"\n" {
		t.Error("the JWT service's files hold something else")
	}
	if !strings.Contains(h.Exec(t, "cat /etc/ecdeploy/rotate.test/sfu/livekit-config.yaml"), `api_key: "`+keys[0].key+`"`) {
		t.Error("LiveKit signs its webhooks with another key")
	}
}

// sfu is a LiveKit that runs.
type sfu struct {
	t   *testing.T
	url string
}

// token is one that grants v.
func (s sfu) token(k credentials, identity string, v *auth.VideoGrant) string {
	s.t.Helper()
	token, err := auth.NewAccessToken(k.key, k.secret).SetIdentity(identity).SetVideoGrant(v).SetValidFor(time.Hour).ToJWT()
	if err != nil {
		s.t.Fatal(err)
	}
	return token
}

// call asks LiveKit's API; the status is 0 where nobody answers.
func (s sfu) call(k credentials, method, body string) (status int, answer string) {
	s.t.Helper()
	req, err := http.NewRequestWithContext(s.t.Context(), http.MethodPost, s.url+"/twirp/livekit.RoomService/"+method, strings.NewReader(body))
	if err != nil {
		s.t.Fatal(err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+s.token(k, "", &auth.VideoGrant{RoomList: true, RoomCreate: true}))
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, ""
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		return 0, ""
	}
	return resp.StatusCode, string(b)
}

func (s sfu) checkStatus(k credentials, status int) {
	s.t.Helper()
	if got, _ := s.call(k, "ListRooms", "{}"); got != status {
		s.t.Errorf("LiveKit answers %d, want %d", got, status)
	}
}

// wait waits until LiveKit is up, accepts these, and lists rooms of which it says
// all that is wanted.
func (s sfu) wait(k credentials, wanted ...string) {
	s.t.Helper()
	for end := time.Now().Add(30 * time.Second); ; time.Sleep(100 * time.Millisecond) {
		status, list := s.call(k, "ListRooms", "{}")
		missing := func(w string) bool { return !strings.Contains(list, w) }
		if status == http.StatusOK && !slices.ContainsFunc(wanted, missing) {
			return
		}
		if time.Now().After(end) {
			s.t.Fatalf("LiveKit answers %d and not %q:\n%s", status, wanted, list)
		}
	}
}

// join opens the signalling connection of a participant, which stays for the
// test, and returns the key of the token that LiveKit renews theirs with.
func (s sfu) join(k credentials, room, identity string) string {
	s.t.Helper()
	if got, _ := s.call(k, "CreateRoom", fmt.Sprintf(`{"name": %q, "empty_timeout": 300}`, room)); got != http.StatusOK {
		s.t.Fatalf("LiveKit answers %d to CreateRoom", got)
	}
	query := url.Values{"access_token": {s.token(k, identity, &auth.VideoGrant{RoomJoin: true, Room: room})}, "protocol": {"9"}, "sdk": {"go"}, "version": {"1.0.0"}}
	ctx, cancel := context.WithTimeout(s.t.Context(), 20*time.Second)
	defer cancel()
	ws, _, err := websocket.Dial(ctx, s.url+"/rtc?"+query.Encode(), nil)
	if err != nil {
		s.t.Fatalf("%s cannot join %s", identity, room) // the error holds the token
	}
	s.t.Cleanup(func() { _ = ws.CloseNow() })
	for {
		_, b, err := ws.Read(ctx)
		if err != nil {
			s.t.Fatalf("%s got no token: %v", identity, err)
		}
		m := &livekit.SignalResponse{}
		if err := proto.Unmarshal(b, m); err != nil {
			s.t.Fatal(err)
		}
		if fresh := m.GetRefreshToken(); fresh != "" {
			v, err := auth.ParseAPIToken(fresh)
			if err != nil {
				s.t.Fatal(err)
			}
			return v.APIKey()
		}
	}
}

package rtc

import (
	"context"
	"crypto/x509"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/lab"
	"github.com/emdecloud/ecdeploy/steps"
)

// TestE2EAsUser is a user of a real Synapse, JWT service and LiveKit, which the real
// program has deployed.
func TestE2EAsUser(t *testing.T) {
	lab.Require(t)
	h := lab.Up(t, lab.Full, "blameu")[0]
	dir := t.TempDir()
	bin, plan := filepath.Join(dir, "ecdeploy"), filepath.Join(dir, "hosts.hcl")
	if err := os.WriteFile(plan, []byte(lab.PlanText(t, h.Name)), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv("XDG_STATE_HOME", dir)
	for _, command := range [][]string{{"go", "build", "-o", bin, "../../cmd/ecdeploy"}, {bin, "apply", "--yes", "--known-hosts", lab.Env(t, "KNOWN_HOSTS"), plan}} {
		if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %v\n%s", command, err, out)
		}
	}
	target, _ := connectLab(t, h)
	dirs := "/etc/ecdeploy/" + h.Domain
	secret := func(name string) host.Secret {
		return host.NewSecret(strings.TrimSpace(h.Exec(t, "cat "+dirs+"/auth/"+name)))
	}
	target.Issues = steps.Pair{Key: secret("key"), Secret: secret("secret")}
	target.Site.Name = h.Domain
	target.Site.SFU.URL = "https://matrix-rtc-sfu." + h.Domain
	target.Site.Auth = steps.Auth{Host: h.Name, URL: "https://matrix-rtc-jwt." + h.Domain, Container: "element-call-jwt"}
	target.User = &User{AccessToken: host.NewSecret(lab.User(t, h.Name, "alice"))}
	target.Roots = x509.NewCertPool()
	target.Roots.AppendCertsFromPEM(lab.CA(t))
	names := lab.Hosts(t)
	client := target.client(vantage{laptop, func(ctx context.Context, network, addr string) (net.Conn, error) {
		name, port, err := net.SplitHostPort(addr)
		if err != nil {
			return nil, err
		}
		return (&net.Dialer{}).DialContext(ctx, network, net.JoinHostPort(names[name], port))
	}}, target.Roots)
	look := func(t *testing.T) map[string]Link {
		t.Helper()
		u := &userLook{t: target, base: "https://matrix." + h.Domain, homeserver: client, auth: client, join: func(ctx context.Context, url, jwt string) error {
			ws, err := openSignalling(ctx, client, url, jwt)
			if err != nil {
				return err
			}
			return ws.CloseNow()
		}}
		out := map[string]Link{}
		for _, l := range u.all(t.Context()) {
			t.Logf("%-20s %-8s %s %s %v", l.ID, l.Status, l.Code, l.Took.Round(1e6), l.Evidence)
			out[l.ID] = l
			for _, s := range u.secrets {
				if strings.Contains(strings.Join(l.Evidence, "\n"), s) {
					t.Errorf("%s tells a secret", l.ID)
				}
			}
		}
		return out
	}
	t.Run("all works", func(t *testing.T) {
		for id, l := range look(t) {
			if l.Status != OK {
				t.Errorf("%s: %s", id, l.Status)
			}
		}
		// Left by its only member and forgotten, a room has nobody.
		if got := h.Exec(t, `su postgres -c 'psql -At synapse -c "select count(*) from delayed_events"' 2>/dev/null || for f in $(find /var/lib/matrix-synapse -name "*.db"); do python3 -c "import sqlite3,sys; print(sqlite3.connect(sys.argv[1]).execute('select count(*) from delayed_events').fetchone()[0])" $f; done`); strings.TrimSpace(got) != "0" {
			t.Errorf("delayed events that are left: %q", got)
		}
	})
	t.Run("no delayed events", func(t *testing.T) {
		h.Exec(t, "sed -i.was '/max_event_delay_duration/d' $(grep -rl max_event_delay_duration /etc/matrix-synapse) && systemctl restart matrix-synapse && for i in $(seq 60); do curl -fs http://127.0.0.1:8008/health && break; sleep 1; done")
		if l := look(t)["user.delayed-event"]; l.Status != Failed || l.Code != "delayed-events-off" {
			t.Errorf("%+v", l)
		}
	})
	t.Run("the JWT service does not run", func(t *testing.T) {
		h.Exec(t, "docker stop element-call-jwt")
		links := look(t)
		if l := links["user.get-token"]; l.Status != Failed || l.Code != "jwt-refused" || !strings.Contains(l.Evidence[0], "502") {
			t.Errorf("%+v", l)
		}
		if l := links["user.claims"]; l.Status != NotSeen {
			t.Errorf("%+v", l)
		}
	})
}

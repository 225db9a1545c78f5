package steps

import (
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// A diff of a foreign file shows only the lines that change, and no value of a
// key that looks like a secret; canary stands for such values.
func TestDiffsShowNoSecrets(t *testing.T) {
	const canary = "cAnArY"
	for _, line := range []string{
		"registration_shared_secret: " + canary, "macaroon_secret_key: \"" + canary + " " + canary + "\"", "form_secret: '" + canary + "'", "turn_shared_secret: " + canary,
		"  password: " + canary, "    smtp_pass: " + canary, "  client_secret: " + canary, "worker_replication_secret: " + canary, "recaptcha_private_key: " + canary,
		"  as_token: " + canary, "  dsn: https://" + canary + "@sentry.example/1", "  pepper: " + canary, "passphrase: " + canary, "apikey: " + canary, "api-key = " + canary,
		"url: postgres://synapse:" + canary + "@db/x", "url: redis://:" + canary + "@h", "u: postgresql+psycopg2://u:a/b@" + canary + "@h/x", `{"access_token": "` + canary + `"}`,
		"redis: {enabled: true, password: " + canary + "}", "rc_message: {per_second: 1, x_token: " + canary + "}", "Authorization: Bearer " + canary,
		`proxy_set_header Authorization "Bearer ` + canary + `";`, "proxy_set_header\tX-Api-Key\t" + canary + ";", `"Bearer ` + canary + `";`, `add_header X-Token "a; ` + canary + `"; include x;`,
		`set $secret '` + canary, `server { ssl_certificate_key /k.pem; proxy_set_header Authorization "Basic ` + canary + `"; }`, "proxy_pass http://u:" + canary + "@h/;", "location / { proxy_pass http://h; proxy_set_header X-Token " + canary + "; }", `if ($arg_token != ` + canary + `) { return 403; }`,
	} {
		for _, diff := range []string{unified("/f", line+"\n", "x: 1\n", 0), unified("/f", "x: 1\n", line+"\n", 0)} {
			if strings.Contains(diff, canary) || !strings.Contains(diff, "***") {
				t.Errorf("%q shows as %q", line, diff)
			}
		}
	}
	for _, line := range []string{"per_second: 0.5", "signing_key_path: /etc/x", "livekit_service_url: https://u.test:443/a", "    location / {", "include /etc/nginx/x.conf;", "ssl_certificate_key /etc/x.pem;", "        proxy_pass http://127.0.0.1:7880/;", "# the token is made by hand"} {
		if diff := unified("/f", "", line+"\n", 0); !strings.Contains(diff, "+"+line+"\n") {
			t.Errorf("%q is masked: %q", line, diff)
		}
	}
	// No context: what stands next to an edit is somebody else's.
	if diff := unified("/f", "plain: "+canary+"\nb: 1\nother: "+canary+"\n", "plain: "+canary+"\nb: 2\nother: "+canary+"\n", 0); strings.Contains(diff, canary) {
		t.Errorf("context in %q", diff)
	}
}

// Our own files that hold credentials: what changed is shown, what an admin or
// an older run wrote into them is not.
func TestOwnDiffsShowNoSecrets(t *testing.T) {
	old := "port: 7880\nkeys:\n  APIold: supersecret\nwebhook:\n  api_key: \"older\"\n- listed\n"
	text := Text{{Lit: "port: 7999\nwebhook:\n  api_key: \""}, {Ref: "secret:x/key"}, {Lit: "\"\n"}}
	file := host.File{Path: "/f", Real: "/f", Exists: true, Mode: 0o640, GID: 7, Data: []byte(old)}
	for name, secrets := range map[string]Secrets{"known keys": testSecrets(), "no keys yet": {Seal: testSecrets().Seal}} {
		e, needed := OwnFile("/f", file, text, 0o640, 7, secrets)
		if !needed {
			t.Fatalf("%s: no change", name)
		}
		for _, leak := range []string{"supersecret", "APIold", "older", "listed", testSecrets().Values["secret:x/key"].Reveal()} {
			if strings.Contains(e.Diff, leak) {
				t.Errorf("%s: %q in\n%s", name, leak, e.Diff)
			}
		}
		if !strings.Contains(e.Diff, "-port: 7880\n") || !strings.Contains(e.Diff, "+port: 7999\n") {
			t.Errorf("%s: the change is not shown:\n%s", name, e.Diff)
		}
	}
	// Old and new key files look alike: neither shows.
	e, _ := OwnFile("/k", host.File{Exists: true, Data: []byte("APIold: supersecret\n")}, Text{{Ref: "secret:x/key"}, {Lit: ": "}, {Ref: "secret:x/secret"}, {Lit: "\n"}}, 0o640, 7, testSecrets())
	if strings.Contains(e.Diff, "APIold") || strings.Contains(e.Diff, "supersecret") {
		t.Errorf("got %s", e.Diff)
	}
}

func TestMaskSecrets(t *testing.T) {
	in := "+registration_shared_secret: \"abc\"\n-  password: x\n database: postgres://u:pw@h/d\n macaroon_secret_key: q\n plain: 1\n"
	got := maskSecrets(in)
	for _, leak := range []string{"abc", " x", "pw@", ": q"} {
		if strings.Contains(got, leak) {
			t.Errorf("%q is still in %q", leak, got)
		}
	}
	if !strings.Contains(got, "plain: 1") {
		t.Errorf("too much is masked: %q", got)
	}
}

// testSecrets are a site's secrets.
func testSecrets() Secrets {
	return Secrets{Seal: "secret:x/secret", Values: map[string]host.Secret{
		"secret:x/key": host.NewSecret(strings.Repeat("k", 48)), "secret:x/secret": host.NewSecret(strings.Repeat("s", 48)),
	}}
}

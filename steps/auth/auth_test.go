package auth

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// caObserver is a host on which /ca.pem is as given.
type caObserver struct {
	suite.Fake
	ca host.File
}

func (o caObserver) Read(ctx context.Context, paths ...string) ([]host.File, error) {
	files, err := o.Fake.Read(ctx, paths...)
	for i := range files {
		if files[i].Path == "/ca.pem" {
			files[i] = o.ca
			files[i].Path = "/ca.pem"
		}
	}
	return files, err
}

// The JWT service gets its credentials as files, never in its environment.
func TestAuthSpec(t *testing.T) {
	auth := testAuth()
	auth.CAFile = "/etc/ssl/ca.pem"
	auth.FullAccess = []string{"example.org", "example.net"}
	got := auth.spec(suite.OneName("rtc.example.org"), "/etc/ecdeploy/example.org/auth")
	want := host.ContainerSpec{Name: "element-call-jwt", Image: "jwt:1", User: "10033:10033", Restart: "always", StopTimeout: got.StopTimeout,
		Env: map[string]string{
			"LIVEKIT_URL": "wss://rtc.example.org/livekit/sfu", "LIVEKIT_KEY_FROM_FILE": "/config/key", "LIVEKIT_SECRET_FROM_FILE": "/config/secret",
			"LIVEKIT_JWT_BIND": "127.0.0.1:8080", "LIVEKIT_FULL_ACCESS_HOMESERVERS": "example.org,example.net", "SSL_CERT_FILE": "/ca.pem",
		},
		Mounts: []host.Mount{{Source: "/etc/ecdeploy/example.org/auth", Target: "/config"}, {Source: "/etc/ssl/ca.pem", Target: "/ca.pem"}}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestJWTServiceFindings(t *testing.T) {
	for _, c := range []struct {
		name, want string
		ca         host.File
		inspect    string
	}{
		{"fine", "", host.File{Exists: true, Mode: 0o644}, ""},
		{"for its group", "", host.File{Exists: true, Mode: 0o640, GID: 10033}, ""},
		{"no CA", "error: ca_file /ca.pem is not on the host", host.File{}, ""},
		{"unreadable CA", "error: ca_file /ca.pem cannot be read by the JWT service", host.File{Exists: true, Mode: 0o640}, ""},
		{
			name:    "another site's container",
			want:    "error: container element-call-jwt is the site example.net's",
			ca:      host.File{Exists: true, Mode: 0o644},
			inspect: `[{"Id":"c","Config":{"Labels":{"ecdeploy.site":"example.net","ecdeploy.spec":"x"}}}]`,
		},
		{"our own container", "", host.File{Exists: true, Mode: 0o644}, `[{"Id":"c","Config":{"Labels":{"ecdeploy.site":"example.org","ecdeploy.spec":"x"}}}]`},
	} {
		t.Run(c.name, func(t *testing.T) {
			auth := testAuth()
			auth.CAFile = "/ca.pem"
			o := caObserver{suite.Fake{Answer: func(argv string) host.Result {
				if strings.HasPrefix(argv, "docker container inspect") && c.inspect != "" {
					return host.Result{Stdout: []byte(c.inspect)}
				}
				return host.Result{Code: 1}
			}}, c.ca}
			facts, err := auth.container(suite.Declared(auth), suite.OneHost()).Probe(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			d, err := facts.Diff(steps.Shared{Secrets: credentials.Secrets(suite.Keys())})
			if err != nil {
				t.Fatal(err)
			}
			if got := suite.Summaries(d.Findings); !strings.HasPrefix(got, c.want) || c.want == "" && got != "" {
				t.Errorf("got %q, want %q", got, c.want)
			}
		})
	}
}

func testAuth() *Config {
	return &Config{Host: "h", URL: "https://matrix-rtc-jwt.example.org", Image: "jwt:1", Container: "element-call-jwt", Bind: "127.0.0.1", Port: 8080,
		FullAccess: []string{"example.org"}, UID: 10033}
}

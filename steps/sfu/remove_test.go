package sfu

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

func TestRemoveComponent(t *testing.T) {
	const secret = "TheSecretOfTheTest0123456789abcdefghijklmnop"
	container := func(labels string) host.Result {
		return host.Result{
			Stdout: []byte(`[{"Id":"old","Image":"sha256:i","State":{"Running":true},"HostConfig":{"RestartPolicy":{"Name":"always"}},"Config":{"Labels":{` + labels + `}}}]`),
		}
	}
	files := map[string]string{
		"/etc/ecdeploy/example.org/sfu/livekit-config.yaml": "port: 7880\n",
		"/etc/ecdeploy/example.org/sfu/keys.yaml":           "TheKeyOfTheTest: " + secret + "\n",
	}
	removed := "- /etc/ecdeploy/example.org/sfu/livekit-config.yaml\n- /etc/ecdeploy/example.org/sfu/keys.yaml"
	for _, c := range []struct {
		name      string
		container host.Result
		engine    int
		files     map[string]string
		want      string
		others    string
	}{
		{
			name:      "ours",
			container: container(`"ecdeploy.site":"example.org"`),
			engine:    0,
			files:     files,
			want:      "- container livekit-sfu\nit is set aside until `ecdeploy prune`\nits image is kept\n" + removed,
			others:    "",
		},
		{"another site's", container(`"ecdeploy.site":"other.org"`), 0, nil, "note: container livekit-sfu on h is not the site's and stays", ""},
		{"somebody else's", container(""), 0, files, "- files of sfu\n" + removed + "\nnote: container livekit-sfu on h is not the site's and stays", ""},
		{"gone", host.Result{Code: 1}, 0, files, "- files of sfu\n" + removed, ""},
		{"all gone", host.Result{Code: 1}, 0, nil, "", ""},
		{"the engine is down", host.Result{Code: 1}, 1, files, "error: the Docker engine on h does not answer", ""},
		{"no Docker any more", host.Result{Code: 127}, 127, nil, "", ""},
		{"another name, and one that was set aside",
			host.Result{Code: 1},
			0,
			files,
			"- container my-sfu\nthe site's, though the plan file does not name it any more\nit is set aside until `ecdeploy prune`\n- files of sfu\n" + removed,
			"id1\tmy-sfu\nid2\telement-call-jwt\nid3\tlivekit-sfu.ecdeploy-R\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			o := suite.Fake{Files: c.files, Answer: func(argv string) host.Result {
				switch {
				case strings.HasPrefix(argv, "docker version"):
					return host.Result{Code: c.engine}
				case strings.HasPrefix(argv, "docker ps"):
					return host.Result{Stdout: []byte(c.others)}
				}
				return c.container
			}}
			d := suite.Decide(t, testSFU().Removal(suite.Declared(testSFU()), suite.OneHost())[0].Step, o)
			if diff := cmp.Diff(c.want, suite.Words(d)); diff != "" {
				t.Error(diff)
			}
			for _, change := range d.Changes {
				b, err := steps.MarshalChange(change)
				if err != nil || strings.Contains(string(b), secret) {
					t.Errorf("%s, %v", b, err)
				}
				if _, err := change.Resolve(t.Context(),
					steps.Env{
						Host:    o,
						Run:     "R",
						Secrets: credentials.Secrets(livekit.Keys{Key: host.NewSecret("TheKeyOfTheTest"), Secret: host.NewSecret(secret)}),
					}); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

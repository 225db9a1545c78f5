package proxy

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

func TestExternalProxyPrintsTheBlock(t *testing.T) {
	for _, c := range []struct {
		name    string
		site    *steps.Site
		servers []string
		caddy   string
	}{
		{"two names", suite.OneHost(), []string{"matrix-rtc-sfu.example.org", "matrix-rtc-jwt.example.org"},
			"matrix-rtc-sfu.example.org {\n    handle {\n        reverse_proxy 127.0.0.1:7880\n    }\n}\n" +
				"matrix-rtc-jwt.example.org {\n    handle {\n        reverse_proxy 127.0.0.1:8080\n    }\n}\n"},
		{"one name", suite.OneName("rtc.example.org"), []string{"rtc.example.org"},
			"rtc.example.org {\n    handle_path /livekit/sfu/* {\n        reverse_proxy 127.0.0.1:7880\n    }\n" +
				"    handle_path /livekit/jwt/* {\n        reverse_proxy 127.0.0.1:8080\n    }\n}\n"},
	} {
		t.Run(c.name, func(t *testing.T) {
			text, d := suite.Said(t, suite.StepOf(&External{Host: "h"}, c.site))
			nginx, caddy, ok := strings.Cut(text, "or in a Caddyfile:\n")
			if !ok || caddy != c.caddy {
				t.Errorf("for Caddy: %s", cmp.Diff(c.caddy, caddy))
			}
			parsed, err := splice.ParseNginx([]byte(nginx))
			if err != nil {
				t.Fatal(err)
			}
			var names []string
			for _, s := range splice.ServerBlocks(parsed) {
				names = append(names, strings.Join(s.Names, " "))
			}
			if diff := cmp.Diff(c.servers, names); diff != "" {
				t.Error(diff)
			}
			if len(d.Checks) != 4 || d.Checks[0].HTTP.Dial != "" {
				t.Errorf("%d checks, the first dials %q", len(d.Checks), d.Checks[0].HTTP.Dial)
			}
		})
	}
}

package nginx

import (
	"fmt"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/suite"
)

// However a configuration includes itself, reading it has an end, and what is
// too large is refused rather than read in part.
func TestNginxBoundsItsWork(t *testing.T) {
	files := func(n int, text string) map[string]string {
		out := map[string]string{}
		for i := range n {
			out[fmt.Sprintf("/etc/nginx/conf.d/%d.conf", i)] = text
		}
		return out
	}
	one := func(n int, line func(i int) string) map[string]string {
		var b strings.Builder
		for i := range n {
			b.WriteString(line(i))
		}
		return map[string]string{"/etc/nginx/conf.d/a.conf": b.String()}
	}
	for _, c := range []struct {
		name  string
		sites map[string]string
		fits  bool
	}{
		{"each file includes all", files(40, "include /etc/nginx/conf.d/*.conf;\nserver { listen 443 ssl; include /etc/nginx/conf.d/*.conf; }\n"), false},
		{"many files include all", files(5000, "include /etc/nginx/conf.d/*.conf;\n"), false},
		{"many patterns", one(5000, func(i int) string { return fmt.Sprintf("include /etc/nginx/conf.d/%d*.conf;\n", i) }), false},
		{"many addresses", one(5000, func(i int) string {
			return fmt.Sprintf("server { listen 10.0.%d.%d:443 ssl; }\n", i/250, i%250)
		}), false},
		{"many server blocks", one(maxServers+1, func(int) string { return "server { listen 443 ssl; }\n" }), false},
		{"many directives", one(maxDirectives, func(int) string { return "a b;\n" }), false},
		{"many addresses of one host", one(200, func(i int) string {
			return fmt.Sprintf("server { listen 10.0.0.%[1]d:80; listen 10.0.0.%[1]d:443 ssl; server_name a%[1]d.example; return 1; }\n", i+1)
		}), true},
		{"blocks in blocks", map[string]string{"/etc/nginx/conf.d/a.conf": strings.Repeat("a {", 100_000)}, false},
		{"a large host", one(5000, func(i int) string {
			return fmt.Sprintf("server { listen 443 ssl; server_name a%d.example; include /etc/nginx/mime.types; return 1; }\n", i)
		}), true},
	} {
		t.Run(c.name, func(t *testing.T) {
			d := decideNginx(t, suite.OneHost(), &Config{}, nginxHost(t, c.sites))
			said := strings.Contains(suite.Summaries(d.Findings), "nginx's configuration cannot be read: ")
			if said == c.fits || (len(d.Changes) == 1) != c.fits {
				t.Errorf("%d changes, and it says %.300s", len(d.Changes), suite.Summaries(d.Findings))
			}
		})
	}
}

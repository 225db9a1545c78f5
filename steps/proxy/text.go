package proxy

import (
	"fmt"
	"strings"

	"github.com/emdecloud/ecdeploy/steps"
)

// NginxLocations are nginx's locations for a route. The prefix is stripped by the
// slash at the end of proxy_pass. LiveKit's token stands in the query, so its
// requests go into no access log, and into the error log only when nginx
// itself is in trouble.
func NginxLocations(r steps.Route) string {
	var b strings.Builder
	loc := "location " + r.Prefix() + "/"
	if r.Prefix() != "" {
		loc = "location ^~ " + r.Prefix() + "/"
	}
	fmt.Fprintf(&b, "%s {\n    proxy_pass http://%s/;\n    proxy_http_version 1.1;\n", loc, r.Upstream)
	b.WriteString("    proxy_set_header Host $host;\n    proxy_set_header X-Real-IP $remote_addr;\n" +
		"    proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;\n    proxy_set_header X-Forwarded-Proto $scheme;\n")
	if r.WebSocket {
		b.WriteString("    proxy_set_header Upgrade $http_upgrade;\n    proxy_set_header Connection \"upgrade\";\n" +
			"    proxy_read_timeout 1h;\n    proxy_send_timeout 1h;\n    proxy_buffering off;\n")
	}
	if r.Quiet {
		b.WriteString("    access_log off;\n    error_log /var/log/nginx/error.log crit;\n")
	}
	b.WriteString("}\n")
	return b.String()
}

// NginxQuote writes a parameter so that nginx reads it back byte for byte.
// A dollar sign cannot be escaped in nginx; plans refuse it in paths.
func NginxQuote(s string) string {
	if !strings.ContainsAny(s, " \t\r\n\"'\\;{}#$") {
		return s
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`).Replace(s) + `"`
}

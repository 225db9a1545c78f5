package splice

import (
	"fmt"
	"regexp"
	"strings"
	"time"
)

// CaddyRoute is a path of a host that Caddy hands to a service.
type CaddyRoute struct {
	Name     string // of letters, digits and _; one a site
	Prefix   string // "/livekit/sfu", which the service does not see; "" for all paths
	Upstream string // host:port, spoken to without TLS

	// Quiet keeps requests out of the access log: their query holds a token.
	// What Caddy cannot hand on is in its error log all the same, URL and all.
	Quiet bool

	// Flush sends on each piece of an answer at once. Of WebSockets it needs
	// no word: Caddy hands on what asks for an upgrade, and has no timeout.
	Flush bool

	// Linger is for how long WebSockets outlive a reload of Caddy, which else
	// ends them. 0 leaves it out: versions before 2.7 do not know it.
	Linger time.Duration

	// Set are response headers that get one value, whatever the site and the
	// service set: pairs of name and value.
	Set [][2]string
}

var (
	caddyNameRE     = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	caddyHostRE     = regexp.MustCompile(`^[A-Za-z0-9.-]+$`)
	caddyPrefixRE   = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)
	caddyUpstreamRE = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]+$`)
	caddyHeaderRE   = regexp.MustCompile(`^[A-Za-z-]+$`)
	caddyValueRE    = regexp.MustCompile(`^[A-Za-z0-9*,/:._ -]+$`)
)

// CaddySnippet writes routes of a host for a file that one of its sites imports
// as its first line.
//
// The form is chosen so that it wins. Caddy sorts what handles requests by
// directive, so routes of ours must be handle blocks: route, respond and
// reverse_proxy come behind, and of handle blocks only the first that matches
// runs. Those are sorted, too: by the length of the path, but only among such
// that match a single path and nothing else, and what has a matcher stands
// before what has none. A matcher that is neither keeps its place in the text,
// which is the first. So each is named, and has two paths: handle_path with one
// would lose to handle /livekit/sfu/rtc*. It names its host, since the site may
// serve others, too. Before handle run redir, rewrite, uri, try_files,
// basic_auth, forward_auth and method: Obstacles finds these.
func CaddySnippet(host string, routes []CaddyRoute) (string, error) {
	if !caddyHostRE.MatchString(host) {
		return "", fmt.Errorf("host %q cannot be written", host)
	}
	var b strings.Builder
	for _, r := range routes {
		if err := r.check(); err != nil {
			return "", err
		}
		fmt.Fprintf(&b, "@ecdeploy_%s {\n\thost %s\n", r.Name, host)
		if r.Prefix != "" {
			fmt.Fprintf(&b, "\tpath %s %s/*\n", r.Prefix, r.Prefix)
		}
		fmt.Fprintf(&b, "}\nhandle @ecdeploy_%s {\n", r.Name)
		r.write(&b)
		b.WriteString("}\n")
	}
	return b.String(), nil
}

// write writes what is in the handle block.
func (r CaddyRoute) write(b *strings.Builder) {
	if r.Quiet {
		// log_skip and its older name skip_log set these; no version takes both.
		b.WriteString("\tvars {\n\t\tlog_skip true\n\t\tskip_log true\n\t}\n")
	}
	if r.Prefix != "" {
		fmt.Fprintf(b, "\turi strip_prefix %s\n", r.Prefix)
	}
	if len(r.Set) > 0 {
		b.WriteString("\theader {\n")
		for _, h := range r.Set {
			fmt.Fprintf(b, "\t\t%s \"%s\"\n", h[0], h[1])
		}
		b.WriteString("\t\tdefer\n\t}\n") // after the service has set its own
	}
	fmt.Fprintf(b, "\treverse_proxy %s", r.Upstream)
	if r.Flush || r.Linger > 0 {
		b.WriteString(" {\n")
		if r.Flush {
			b.WriteString("\t\tflush_interval -1\n")
		}
		if r.Linger > 0 {
			fmt.Fprintf(b, "\t\tstream_close_delay %ds\n", int(r.Linger.Seconds()))
		}
		b.WriteString("\t}")
	}
	b.WriteString("\n")
}

func (r CaddyRoute) check() error {
	for _, h := range r.Set {
		if !caddyValueRE.MatchString(h[1]) || !caddyHeaderRE.MatchString(h[0]) {
			return fmt.Errorf("header %q: %q cannot be written", h[0], h[1])
		}
	}
	switch {
	case !caddyNameRE.MatchString(r.Name):
		return fmt.Errorf("route %q: a name is letters, digits and _", r.Name)
	case !caddyPrefixRE.MatchString(r.Prefix):
		return fmt.Errorf("route %s: the path %q cannot be written", r.Name, r.Prefix)
	case !caddyUpstreamRE.MatchString(r.Upstream):
		return fmt.Errorf("route %s: %q is no host:port", r.Name, r.Upstream)
	}
	return nil
}

// CaddySite writes a site of its own for a host that no site serves. tls are
// the arguments of the directive tls: none for certificates that Caddy gets by
// itself, "internal", or the paths of a certificate and its key. What is no
// route is answered by 404: Caddy's own answer would be 200.
func CaddySite(host string, tls []string, routes []CaddyRoute) (string, error) {
	inner, err := CaddySnippet(host, routes)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s {\n", host)
	if len(tls) > 0 {
		for _, arg := range tls {
			if arg != "internal" && !caddyPathRE.MatchString(arg) {
				return "", fmt.Errorf("tls %q cannot be written", arg)
			}
		}
		fmt.Fprintf(&b, "\ttls %s\n", strings.Join(tls, " "))
	}
	for line := range strings.Lines(inner) {
		b.WriteString("\t" + line)
	}
	b.WriteString("\trespond 404\n}\n")
	return b.String(), nil
}

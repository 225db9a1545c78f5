package splice

import (
	"fmt"
	"path"
	"regexp"
	"strings"
	"time"
)

// CaddyRoute is a path of a host that Caddy forwards to a service, or serves from
// a file.
type CaddyRoute struct {
	Name     string // of letters, digits and _; one a site
	Prefix   string // "/livekit/sfu", which the service does not see; "" for all paths
	Upstream string // host:port, spoken to without TLS
	File     string // instead of Upstream: the file on Caddy's host that Prefix alone, as a path, stands for

	// Quiet keeps requests out of the access log, since their query contains a
	// token. A request that Caddy cannot forward is still logged as an error,
	// with its URL: no directive turns that off for one route.
	Quiet bool

	// Flush forwards each part of a response at once. WebSockets need nothing:
	// Caddy forwards upgrades by itself and has no timeout for them.
	Flush bool

	// Linger is how long WebSockets survive a reload of Caddy, which otherwise
	// closes them. 0 omits the setting: versions before 2.7 reject it.
	Linger time.Duration

	// Set are response headers, pairs of name and value, that replace what the
	// site and the service set.
	Set [][2]string
}

var (
	caddyNameRE     = regexp.MustCompile(`^[A-Za-z0-9_]+$`)
	caddyHostRE     = regexp.MustCompile(`^[A-Za-z0-9.-]+$`)
	caddyPrefixRE   = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)
	caddyUpstreamRE = regexp.MustCompile(`^([A-Za-z0-9.-]+|\[[0-9A-Fa-f:.]+\]):[0-9]+$`)
	caddyHeaderRE   = regexp.MustCompile(`^[A-Za-z][A-Za-z-]*$`)
	caddyValueRE    = regexp.MustCompile(`^[A-Za-z0-9*,/:._ -]+$`)
)

// CaddySnippet writes routes of a host for a file that one of its sites imports
// as its first line.
//
// The form was chosen so that our routes win. Caddy runs directives in a fixed
// order, whatever their order in the file. handle runs before route, respond,
// reverse_proxy and file_server, and only the first handle that matches runs. Caddy
// sorts handle blocks as well: longer paths first, if both have a single path,
// and those with a matcher before those without. All others keep their order in
// the file, where ours are first. So each route gets a named matcher with two
// paths; with one, handle /livekit/sfu/rtc* would run before it. A file has a
// single path, and what runs before it was written for that path. The matcher
// names the host because the site may serve other hosts. redir, rewrite, uri,
// try_files, basic_auth, forward_auth and method still run before any handle:
// Obstacles finds them.
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
		switch {
		case r.File != "":
			fmt.Fprintf(&b, "\tpath %s\n", r.Prefix)
		case r.Prefix != "":
			fmt.Fprintf(&b, "\tpath %s %s/*\n", r.Prefix, r.Prefix)
		}
		fmt.Fprintf(&b, "}\nhandle @ecdeploy_%s {\n", r.Name)
		r.write(&b)
		b.WriteString("}\n")
	}
	return b.String(), nil
}

// write writes the contents of the handle block.
func (r CaddyRoute) write(b *strings.Builder) {
	if r.Quiet {
		// What the directives log_skip (2.8) and skip_log (before) set; no version
		// accepts both names without a warning or an error.
		b.WriteString("\tvars {\n\t\tlog_skip true\n\t\tskip_log true\n\t}\n")
	}
	if r.Prefix != "" && r.File == "" {
		fmt.Fprintf(b, "\turi strip_prefix %s\n", r.Prefix)
	}
	if len(r.Set) > 0 {
		b.WriteString("\theader {\n")
		for _, h := range r.Set {
			fmt.Fprintf(b, "\t\t%s \"%s\"\n", h[0], h[1])
		}
		b.WriteString("\t\tdefer\n\t}\n") // after the service has set its own
	}
	if r.File != "" {
		fmt.Fprintf(b, "\troot * %s\n\trewrite * /%s\n\tfile_server\n", path.Dir(r.File), path.Base(r.File))
		return
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
		return fmt.Errorf("route %q: the name must consist of letters, digits and _", r.Name)
	case !caddyPrefixRE.MatchString(r.Prefix):
		return fmt.Errorf("route %s: the path %q cannot be written", r.Name, r.Prefix)
	case r.File != "" && (r.Prefix == "" || !caddyPathRE.MatchString(r.File) || path.Clean(r.File) != r.File):
		return fmt.Errorf("route %s: the file %q cannot be written", r.Name, r.File)
	case r.File == "" && !caddyUpstreamRE.MatchString(r.Upstream):
		return fmt.Errorf("route %s: %q is not host:port", r.Name, r.Upstream)
	}
	return nil
}

// CaddySite writes a new site for a host that no site serves. tls are the
// arguments of the directive tls: none if Caddy gets the certificate itself,
// "internal", or the paths of a certificate and its key. All other paths are
// answered with 404, where Caddy's default is an empty 200.
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

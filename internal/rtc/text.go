package rtc

import (
	"net"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Bounds of what stands in a report of one link.
const (
	maxEvidence = 12  // lines
	maxLine     = 400 // bytes of one
)

var (
	// tokens are what admits its bearer: access tokens in URLs, and JWTs.
	tokens = regexp.MustCompile(`(access_token=)[^\s&"']+|\beyJ[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*){0,2}`)
	// people are Matrix IDs of users, which logs are full of.
	people = regexp.MustCompile(`@[^\s:"',]+:[A-Za-z0-9.-]+`)
)

// redact takes the credentials of the site, and all that looks like a token, out of
// what hosts and servers said.
func (t Target) redact(evidence []string) []string {
	var known []string
	for _, s := range []host.Secret{t.Keys.Key, t.Keys.Secret, t.Issues.Key, t.Issues.Secret} {
		if v := s.Reveal(); v != "" {
			known = append(known, v, "***")
		}
	}
	plain := strings.NewReplacer(known...)
	out := make([]string, len(evidence))
	for i, line := range evidence {
		out[i] = tokens.ReplaceAllString(plain.Replace(line), "$1***")
	}
	return out
}

// cleaned is evidence fit to be shown and of a bounded size: parts of it are the
// words of hosts.
func cleaned(evidence []string) []string {
	var out []string
	for _, e := range evidence {
		for line := range strings.Lines(host.Clean(e)) {
			line = strings.TrimSpace(strings.ReplaceAll(line, "\t", " "))
			if line == "" {
				continue
			}
			if len(line) > maxLine {
				line = strings.ToValidUTF8(line[:maxLine], "") + "…"
			}
			if len(out) == maxEvidence {
				return out
			}
			out = append(out, line)
		}
	}
	return out
}

// hostOf and pathOf are parts of a URL; the path without a slash at its end.
func hostOf(text string) string {
	if u, err := url.Parse(text); err == nil {
		return u.Host
	}
	return ""
}

func pathOf(text string) string {
	if u, err := url.Parse(text); err == nil {
		return strings.TrimRight(u.Path, "/")
	}
	return ""
}

// family is a network of Go's for an address: "tcp4" of "tcp" and 192.0.2.1.
func family(protocol string, a netip.Addr) string {
	if a.Is4() {
		return protocol + "4"
	}
	return protocol + "6"
}

// cutPort splits host:port; ok is false where there is no port.
func cutPort(s string) (host, port string, ok bool) {
	host, port, err := net.SplitHostPort(s)
	return host, port, err == nil
}

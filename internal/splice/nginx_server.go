package splice

import (
	"regexp"
	"slices"
	"strings"
)

// ServerBlock is a server block of nginx's http context.
type ServerBlock struct {
	Directive *Directive
	Listens   [][]string // the arguments of each listen; none means port 80, or 8000 where nginx is not root
	Names     []string   // all of server_name, in order
	TLS       bool       // a listen with ssl or quic, or `ssl on`
}

// ServerBlocks finds the server blocks at the top level and in http { }. Those
// of stream { } and mail { } are left out, and so is a top-level one that can
// only be such a one (it has proxy_pass, ssl_preread or protocol at its own
// level). What server blocks include is not looked into.
func ServerBlocks(dirs []*Directive) []ServerBlock {
	var out []ServerBlock
	for _, d := range dirs {
		switch {
		case d.Name == "http" && d.Block:
			for _, s := range d.Body {
				if s.Name == "server" && s.Block {
					out = append(out, serverBlock(s))
				}
			}
		case d.Name == "server" && d.Block && !slices.ContainsFunc(d.Body, notHTTP):
			out = append(out, serverBlock(d))
		}
	}
	return out
}

func notHTTP(d *Directive) bool {
	return slices.Contains([]string{"proxy_pass", "ssl_preread", "protocol"}, d.Name)
}

func serverBlock(d *Directive) ServerBlock {
	s := ServerBlock{Directive: d}
	for _, c := range d.Body {
		switch c.Name {
		case "listen":
			s.Listens = append(s.Listens, c.Args)
			s.TLS = s.TLS || slices.Contains(c.Args, "ssl") || slices.Contains(c.Args, "quic")
		case "server_name":
			s.Names = append(s.Names, c.Args...)
		case "ssl":
			s.TLS = s.TLS || slices.Equal(c.Args, []string{"on"})
		}
	}
	return s
}

// MatchServerName reports whether a name of server_name stands for host:
// exact, *.example.com, mail.*, .example.com (the domain too), ~regex. Case
// and a trailing dot of host do not count. A regex that Go cannot read does
// not match.
func MatchServerName(pattern, host string) bool {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	if expr, ok := strings.CutPrefix(pattern, "~"); ok {
		re, err := regexp.Compile("(?i)" + expr)
		return err == nil && re.MatchString(host)
	}
	pattern = strings.ToLower(pattern)
	switch {
	case host == "" || pattern == "":
		return pattern == host
	case strings.HasPrefix(pattern, "."):
		return host == pattern[1:] || hasMore(strings.CutSuffix(host, pattern))
	case strings.HasPrefix(pattern, "*."):
		return hasMore(strings.CutSuffix(host, pattern[1:]))
	case strings.HasSuffix(pattern, ".*"):
		return hasMore(strings.CutPrefix(host, pattern[:len(pattern)-1]))
	}
	return pattern == host
}

// ServerFor picks the server block that nginx picks for host among those of one
// address, each given by its names: exact, the longest *.example.com or
// .example.com, the longest mail.*, the first regex that matches. -1 is none:
// the address's default server. known is false where it hangs on the regex of
// the block i, which Go cannot read.
func ServerFor(names [][]string, host string) (i int, known bool) {
	best, rank := -1, 0
	regex, doubt := -1, false
	for i, list := range names {
		for _, n := range list {
			if expr, ok := strings.CutPrefix(n, "~"); ok {
				_, err := regexp.Compile(expr)
				if regex < 0 && (err != nil || MatchServerName(n, host)) {
					regex, doubt = i, err != nil
				}
				continue
			}
			if r := nameRank(n); r > rank && MatchServerName(n, host) {
				best, rank = i, r
			}
		}
	}
	if best >= 0 {
		return best, true
	}
	return regex, !doubt
}

// nameRank orders the names that are no regex by their precedence, those of
// one kind by their length, which is bounded by that of a domain name.
func nameRank(pattern string) int {
	const kind = 1 << 16
	switch {
	case strings.HasPrefix(pattern, "."):
		return 2*kind + len(pattern) // .example.com counts as *.example.com
	case strings.HasPrefix(pattern, "*."):
		return 2*kind + len(pattern) - 1
	case strings.HasSuffix(pattern, ".*"):
		return kind + len(pattern)
	}
	return 3 * kind
}

func hasMore(rest string, ok bool) bool { return ok && rest != "" }

// LocationFor finds the location of a server block that serves uri, a
// normalized path without query, by nginx's rules (exact, ^~, longest prefix,
// regexes in order, nested locations first). Three answers:
//   - loc, true: this one;
//   - nil, false: none matches;
//   - loc, false: unknown: the answer hangs on loc, whose regex Go cannot read.
//
// It does not look into included files: put their directives into the Body.
func LocationFor(server *Directive, uri string) (loc *Directive, ok bool) {
	loc, how := findLocation(server.Body, uri)
	return loc, loc != nil && how != unknownLocation
}

// How a location was found: nginx's NGX_DECLINED, NGX_AGAIN and NGX_OK
// (ngx_http_core_find_location), and a regex that was not to be read.
type locationKind int

const (
	noLocation      locationKind = iota
	prefixLocation               // a regex outside may still win
	finalLocation                // exact or regex
	unknownLocation              // hangs on a regex
)

func findLocation(body []*Directive, uri string) (*Directive, locationKind) {
	best, length, noRegex := (*Directive)(nil), -1, false
	for _, d := range body {
		mod, pattern := locationArgs(d)
		switch mod {
		case "=":
			if pattern == uri {
				return d, finalLocation
			}
		case "", "^~":
			if strings.HasPrefix(uri, pattern) && len(pattern) > length {
				best, length, noRegex = d, len(pattern), mod == "^~"
			}
		}
	}
	kind := noLocation
	if best != nil {
		kind = prefixLocation
		if inner, k := findLocation(best.Body, uri); k != noLocation {
			best, kind = inner, k
		}
	}
	if kind > prefixLocation || noRegex {
		return best, kind
	}
	for _, d := range body {
		mod, pattern := locationArgs(d)
		if mod != "~" && mod != "~*" {
			continue
		}
		if mod == "~*" {
			pattern = "(?i)" + pattern
		}
		re, err := regexp.Compile(pattern)
		if err != nil {
			return d, unknownLocation
		}
		if !re.MatchString(uri) {
			continue
		}
		switch inner, k := findLocation(d.Body, uri); k {
		case noLocation:
			return d, finalLocation
		case unknownLocation:
			return inner, k
		default:
			return inner, finalLocation
		}
	}
	return best, kind
}

// locationArgs parts `location MODIFIER PATTERN`, which nginx also takes
// written together; the modifier is "-" for what matches no request.
func locationArgs(d *Directive) (mod, pattern string) {
	if d.Name != "location" || !d.Block || len(d.Args) == 0 || len(d.Args) > 2 {
		return "-", ""
	}
	if len(d.Args) == 2 {
		return d.Args[0], d.Args[1]
	}
	arg := d.Args[0]
	for _, mod := range []string{"=", "^~", "~*", "~"} {
		if pattern, ok := strings.CutPrefix(arg, mod); ok {
			return mod, pattern
		}
	}
	if strings.HasPrefix(arg, "@") {
		return "-", ""
	}
	return "", arg
}

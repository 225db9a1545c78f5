package splice

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
func ServerBlocks(dirs []*Directive) []ServerBlock { return nil }

// MatchServerName reports whether a name of server_name stands for host:
// exact, *.example.com, mail.*, .example.com (the domain too), ~regex. Case
// and a trailing dot of host do not count. A regex that Go cannot read does
// not match.
func MatchServerName(pattern, host string) bool { return false }

// LocationFor finds the location of a server block that serves uri, a
// normalized path without query, by nginx's rules (exact, ^~, longest prefix,
// regexes in order, nested locations first). Three answers:
//   - loc, true: this one;
//   - nil, false: none matches;
//   - loc, false: unknown: the answer hangs on loc, whose regex Go cannot read.
//
// It does not look into included files: put their directives into the Body.
func LocationFor(server *Directive, uri string) (loc *Directive, ok bool) { return nil, false }

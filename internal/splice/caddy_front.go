package splice

import (
	"slices"
	"strings"
)

// CaddyEffect is what a directive of a site does to routes of ours that are
// imported as the site's first line (CaddySnippet).
type CaddyEffect string

// The effects.
const (
	CaddyInFront CaddyEffect = "in front" // answers, rewrites or asks for a password before us
	CaddyReplace CaddyEffect = "replaced" // serves a part of our paths today, and would not any more
	CaddyHeader  CaddyEffect = "header"   // sets a response header that the service behind us sets, too
)

// CaddyObstacle is a directive that has an effect on routes of ours.
type CaddyObstacle struct {
	Token  CaddyToken // the directive's name, and where it stands
	Effect CaddyEffect
	Sure   bool   // it concerns all of our requests; else some, or it is not known
	Header string // of CaddyHeader: the canonical name of the header
}

// Order of the directives that handle requests, of Caddy 2.11
// (httpcaddyfile/directives.go) and 2.6. Whatever the order in the file, this
// is the order in which they run; handle_path runs as handle.
func caddyOrder() []string {
	return strings.Fields(`tracing map vars fs root log_append skip_log log_skip log_name log_level
		header copy_response_headers request_body timeouts redir method rewrite uri try_files
		basicauth basic_auth forward_auth request_header encode push intercept templates
		invoke handle handle_path route
		abort error copy_response respond metrics reverse_proxy php_fastcgi file_server acme_server`)
}

// caddyHarmless are directives before handle that change no request so that it
// would not reach us, and those that handle none.
func caddyHarmless() []string {
	return strings.Fields(`tracing map vars fs root log_append skip_log log_skip log_name log_level copy_response_headers
		request_body request_header encode push templates bind log handle_errors`)
}

// Obstacles says what in a site is in the way of routes of ours for host below
// prefix, in the order of the text. block is an index into Blocks. What runs
// before handle is in front, whatever it is written behind.
func (c *CaddyConfig) Obstacles(block int, host, prefix string) []CaddyObstacle {
	order, moved := c.directiveOrder()
	handle := slices.Index(order, "handle")
	named := namedMatchers(nil, c.Blocks[block].Directives)
	var out []CaddyObstacle
	for _, d := range c.Blocks[block].Directives {
		name := d.Name()
		if strings.HasPrefix(name, "@") {
			continue
		}
		m := matcherOf(d, named, host, prefix)
		at := slices.Index(order, name)
		if name == "handle_path" {
			at = handle
		}
		switch {
		case name == "tls":
			if slices.ContainsFunc(d.Lines(), func(l CaddyDirective) bool { return l.Name() == "client_auth" }) {
				out = append(out, CaddyObstacle{Token: d.Tokens[0], Effect: CaddyInFront})
			}
		case name == "header" && m.rel != caddyNever:
			out = append(out, headerObstacles(d, m.rel)...)
		case name == "header", slices.Contains(caddyHarmless(), name) && !slices.Contains(moved, name), m.rel == caddyNever:
		case at < 0 || at < handle:
			unsure := at < 0 || slices.Contains([]string{"timeouts", "intercept", "invoke"}, name)
			out = append(out, CaddyObstacle{Token: d.Tokens[0], Effect: CaddyInFront, Sure: m.rel == caddyAlways && !unsure})
		default:
			out = append(out, replaced(d, m, named, host, prefix)...)
		}
	}
	return out
}

// replaced finds what serves paths of ours today, also within route and handle.
func replaced(d CaddyDirective, m caddyMatcher, named map[string]CaddyDirective, host, prefix string) []CaddyObstacle {
	if m.rel == caddyNever {
		return nil
	}
	if m.specific {
		return []CaddyObstacle{{Token: d.Tokens[0], Effect: CaddyReplace, Sure: m.rel == caddyAlways}}
	}
	if d.Name() != "handle" && d.Name() != "route" {
		return nil
	}
	lines := d.Lines()
	named = namedMatchers(named, lines)
	var out []CaddyObstacle
	for _, l := range lines {
		if !strings.HasPrefix(l.Name(), "@") {
			out = append(out, replaced(l, matcherOf(l, named, host, prefix), named, host, prefix)...)
		}
	}
	return out
}

func namedMatchers(outer map[string]CaddyDirective, dirs []CaddyDirective) map[string]CaddyDirective {
	out := map[string]CaddyDirective{}
	for name, d := range outer {
		out[name] = d
	}
	for _, d := range dirs {
		if strings.HasPrefix(d.Name(), "@") {
			out[d.Name()] = d
		}
	}
	return out
}

// headerObstacles reads a header directive. Caddy adds a service's header to
// one that is set already, and browsers refuse two Access-Control-Allow-Origin.
// What is deferred has the last word: only * does no harm there.
func headerObstacles(d CaddyDirective, rel caddyRelation) []CaddyObstacle {
	fields, deferred := d.Lines(), false
	args := d.Args()
	if len(args) > 0 && (args[0] == "*" || strings.HasPrefix(args[0], "/") || strings.HasPrefix(args[0], "@")) {
		args = args[1:]
	}
	lines := [][]string{args}
	for _, f := range fields {
		deferred = deferred || f.Name() == "defer"
		lines = append(lines, append([]string{f.Name()}, f.Args()...))
	}
	const origin = "access-control-allow-origin"
	for _, l := range lines {
		if len(l) == 0 {
			continue
		}
		name := strings.ToLower(strings.TrimSuffix(strings.TrimLeft(l[0], "+-?>"), ":"))
		op := l[0][:len(l[0])-len(strings.TrimLeft(l[0], "+-?>"))]
		head, wild := strings.CutSuffix(name, "*")
		switch {
		case name != origin && (!wild || !strings.HasPrefix(origin, head)), op == "?":
		case op == "-", (deferred || op == ">") && !slices.Equal(l[1:], []string{"*"}):
			return []CaddyObstacle{{Token: d.Tokens[0], Effect: CaddyInFront, Sure: rel == caddyAlways}}
		case !deferred && op != ">":
			return []CaddyObstacle{{Token: d.Tokens[0], Effect: CaddyHeader, Sure: rel == caddyAlways, Header: "Access-Control-Allow-Origin"}}
		}
	}
	return nil
}

// directiveOrder is the order of directives after the global option order, and
// what that moved.
func (c *CaddyConfig) directiveOrder() (order, moved []string) {
	order = caddyOrder()
	for _, d := range c.globals() {
		args := d.Args()
		if d.Name() != "order" || len(args) < 2 {
			continue
		}
		order = slices.DeleteFunc(order, func(s string) bool { return s == args[0] })
		moved = append(moved, args[0])
		at := 0
		switch args[1] {
		case "last":
			at = len(order)
		case "before", "after":
			if len(args) < 3 {
				continue
			}
			if at = slices.Index(order, args[2]); at < 0 {
				continue
			}
			if args[1] == "after" {
				at++
			}
		}
		order = slices.Insert(order, at, args[0])
	}
	return order, moved
}

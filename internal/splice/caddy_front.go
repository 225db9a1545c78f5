package splice

import (
	"slices"
	"strings"
)

// CaddyEffect is how a directive of a site affects our routes, when the site
// imports them in its first line (CaddySnippet).
type CaddyEffect string

// The effects.
const (
	CaddyInFront CaddyEffect = "in front" // responds, rewrites or asks for a password before our routes run
	CaddyReplace CaddyEffect = "replaced" // serves some of our paths today, and no longer would
	CaddyHeader  CaddyEffect = "header"   // sets a response header that our services also set
)

// CaddyObstacle is a directive that affects our routes.
type CaddyObstacle struct {
	Token  CaddyToken // the directive's name, and where it stands
	Effect CaddyEffect
	Sure   bool   // affects all requests for our routes; otherwise some, or unknown
	Header string // of CaddyHeader: the canonical name of the header
}

// caddyOrder is the order in which directives run, whatever their order in the
// file: that of Caddy 2.11 (httpcaddyfile/directives.go), which agrees with 2.6.
// handle_path runs where handle does.
func caddyOrder() []string {
	return strings.Fields(`tracing map vars fs root log_append skip_log log_skip log_name log_level
		header copy_response_headers request_body timeouts redir method rewrite uri try_files
		basicauth basic_auth forward_auth request_header encode push intercept templates
		invoke handle handle_path route
		abort error copy_response respond metrics reverse_proxy php_fastcgi file_server acme_server`)
}

// caddyHarmless are directives that run before handle but let requests reach our
// routes, and directives that do not handle requests.
func caddyHarmless() []string {
	return strings.Fields(`tracing map vars fs root log_append skip_log log_skip log_name log_level copy_response_headers
		request_body request_header encode push templates bind log handle_errors`)
}

// Obstacles lists what affects our routes for host below prefix in a site, in the
// order of the text. block is an index into Blocks. Give our own file an empty
// text, or its routes count as well.
func (c *CaddyConfig) Obstacles(block int, host, prefix string) []CaddyObstacle {
	return c.obstacles(block, caddyScope{host: host, path: prefix})
}

// FileObstacles is Obstacles for a route for one path alone (File of CaddyRoute).
func (c *CaddyConfig) FileObstacles(block int, host, path string) []CaddyObstacle {
	return c.obstacles(block, caddyScope{host: host, path: path, alone: true})
}

func (c *CaddyConfig) obstacles(block int, scope caddyScope) []CaddyObstacle {
	order, moved := c.directiveOrder()
	handle := slices.Index(order, "handle")
	named := namedMatchers(nil, c.Blocks[block].Directives)
	var out []CaddyObstacle
	for _, d := range c.Blocks[block].Directives {
		name := d.Name()
		if strings.HasPrefix(name, "@") {
			continue
		}
		m := matcherOf(d, named, scope)
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
			out = append(out, replaced(d, m, named, scope)...)
		}
	}
	return out
}

// replaced finds what serves our paths today, also inside route and handle.
func replaced(d CaddyDirective, m caddyMatcher, named map[string]CaddyDirective, scope caddyScope) []CaddyObstacle {
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
			out = append(out, replaced(l, matcherOf(l, named, scope), named, scope)...)
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

// headerObstacles reads a header directive. Caddy adds the service's header to
// one that is already set, and browsers reject two Access-Control-Allow-Origin.
// Deferred headers are set last, so only the value * is harmless there.
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

// directiveOrder applies the global option order, and returns what it moved.
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

package splice

import (
	"path"
	"strings"
)

// caddyRelation says how many requests for our routes, those for one host below
// one path, something matches.
type caddyRelation int

const (
	caddyNever  caddyRelation = iota // none
	caddyMaybe                       // some, or it is not known
	caddyAlways                      // all
)

// caddyScope is which requests are asked about: those for one host, either for all
// paths below one or for that path alone.
type caddyScope struct {
	host  string
	path  string // without a slash at its end
	alone bool
}

// matched says which of the paths a path pattern matches, by MatchPath of
// modules/caddyhttp/matchers.go: case is ignored, and a * at either end also matches
// slashes.
func (s caddyScope) matched(pattern string) caddyRelation {
	pattern = strings.ToLower(pattern)
	if pattern == "*" {
		return caddyAlways
	}
	if strings.ContainsAny(pattern, "{%") || strings.Contains(pattern, "//") {
		return caddyMaybe
	}
	if s.alone {
		if matchCaddyPath(pattern, strings.ToLower(s.path)) {
			return caddyAlways
		}
		return caddyNever
	}
	ours := strings.ToLower(s.path) + "/"
	wild := strings.IndexAny(pattern, `*?[\`)
	if wild < 0 {
		if strings.HasPrefix(pattern, ours) {
			return caddyMaybe
		}
		return caddyNever
	}
	head := pattern[:wild]
	switch {
	case wild == len(pattern)-1 && pattern[wild] == '*' && strings.HasPrefix(ours, head):
		return caddyAlways
	case strings.HasPrefix(ours, head), strings.HasPrefix(head, ours):
		return caddyMaybe
	}
	return caddyNever
}

func matchCaddyPath(pattern, one string) bool {
	middle, ends := strings.CutPrefix(pattern, "*")
	inner, begins := strings.CutSuffix(middle, "*")
	switch {
	case strings.ContainsAny(inner, `*?[\`):
		ok, err := path.Match(pattern, one)
		return ok && err == nil
	case ends && begins:
		return strings.Contains(one, inner)
	case ends:
		return strings.HasSuffix(one, inner)
	case begins:
		return strings.HasPrefix(one, inner)
	}
	return pattern == one
}

// caddyMatcher is the matcher of a directive: which requests for our routes it
// matches, and whether it names particular paths.
type caddyMatcher struct {
	rel      caddyRelation
	specific bool
}

// matcherOf reads the matcher of a directive. named are the matchers defined in
// its block and around it.
func matcherOf(d CaddyDirective, named map[string]CaddyDirective, scope caddyScope) caddyMatcher {
	args := d.Args()
	switch {
	case len(args) == 0, d.Name() == "try_files", d.Name() == "rewrite" && len(args) == 1:
		return caddyMatcher{rel: caddyAlways}
	case strings.HasPrefix(args[0], "/"):
		return caddyMatcher{rel: scope.matched(args[0]), specific: args[0] != "/*"}
	case strings.HasPrefix(args[0], "@"):
		def, ok := named[args[0]]
		if !ok {
			return caddyMatcher{rel: caddyMaybe}
		}
		return definedMatcher(def, scope)
	}
	return caddyMatcher{rel: caddyAlways} // also where it is *
}

// definedMatcher reads a definition `@name MATCHER ARGS` or `@name { ... }`:
// all of its matchers must match, and values of one kind are alternatives.
func definedMatcher(def CaddyDirective, scope caddyScope) caddyMatcher {
	lines := def.Lines()
	if len(def.Args()) > 0 {
		lines = []CaddyDirective{{Tokens: def.Tokens[1:]}}
	}
	alternatives := map[string][]string{}
	m := caddyMatcher{rel: caddyAlways}
	for _, l := range lines {
		switch name := l.Name(); name {
		case "path", "host":
			alternatives[name] = append(alternatives[name], l.Args()...)
		case "not":
			m.rel = min(m.rel, notMatcher(l, scope))
		default:
			m.rel = min(m.rel, caddyMaybe)
		}
	}
	if paths, ok := alternatives["path"]; ok {
		rel := caddyNever
		for _, p := range paths {
			rel = max(rel, scope.matched(p))
			m.specific = m.specific || p != "/*" && p != "*"
		}
		m.rel = min(m.rel, rel)
	}
	if hosts, ok := alternatives["host"]; ok {
		m.rel = min(m.rel, caddyHosts(hosts, scope.host))
	}
	return m
}

// notMatcher reads `not MATCHER ARGS` for paths and hosts; anything else is
// unknown.
func notMatcher(l CaddyDirective, scope caddyScope) caddyRelation {
	args := l.Args()
	if len(args) < 2 || l.Tokens[len(l.Tokens)-1].Close() {
		return caddyMaybe
	}
	rel := caddyMaybe
	switch args[0] {
	case "path":
		rel = caddyNever
		for _, p := range args[1:] {
			rel = max(rel, scope.matched(p))
		}
	case "host":
		rel = caddyHosts(args[1:], scope.host)
	}
	return caddyAlways - rel
}

func caddyHosts(patterns []string, host string) caddyRelation {
	rel := caddyNever
	for _, p := range patterns {
		switch a := (CaddyAddress{Host: p}); {
		case a.variable():
			rel = max(rel, caddyMaybe)
		case a.matchHost(host):
			return caddyAlways
		}
	}
	return rel
}

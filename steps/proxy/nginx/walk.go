package nginx

import (
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/splice"
)

// What a configuration may hold, includes counted each time: more than is usual.
// Files that include each other would else be read without end.
const (
	maxDirectives = 1_000_000
	maxServers    = 10_000
	maxAddresses  = 300  // of TLS
	maxPatterns   = 2000 // of includes
)

// fits reports whether the configuration is within these bounds.
func (t *nginxTree) fits() bool {
	left, servers, addrs := maxDirectives, 0, map[string]bool{}
	whole := t.each(func(_ nginxFile, d *splice.Directive) {
		if d.Name != "server" || left <= 0 {
			return
		}
		servers++
		for _, in := range t.expand(d.Body, 0, &left) {
			if in.Name == "listen" && slices.Contains(in.Args, "ssl") {
				addrs[in.Args[0]] = true
			}
		}
	})
	return whole && left > 0 && servers <= maxServers && len(addrs) <= maxAddresses
}

// each visits the directives of the http context in the order in which nginx
// reads them, those in included files right behind their include. whole is
// false where there are too many.
func (t *nginxTree) each(visit func(nginxFile, *splice.Directive)) (whole bool) {
	if t.huge {
		return false
	}
	left := maxDirectives
	within := map[string]bool{}
	var walk func(f nginxFile, dirs []*splice.Directive, http bool)
	file := func(p string, http bool) {
		if left--; left > 0 && !within[p] {
			within[p] = true
			walk(t.files[p], t.files[p].parsed, http)
			delete(within, p)
		}
	}
	walk = func(f nginxFile, dirs []*splice.Directive, http bool) {
		for _, d := range dirs {
			if left--; left <= 0 {
				return
			}
			if http {
				visit(f, d)
			}
			switch {
			case d.Name == "include":
				for _, pattern := range includes([]*splice.Directive{d}) {
					for _, p := range t.match(pattern) {
						file(p, http)
					}
				}
			case !http && d.Name == "http":
				walk(f, d.Body, true)
			}
		}
	}
	file(configDir+"/nginx.conf", false)
	return left > 0
}

// body is a block with the directives of the files that it includes, but for
// our own.
func (s nginxServer) body() []*splice.Directive {
	left := maxDirectives
	return s.tree.expand(s.block.Body, 0, &left)
}

// maxIncludes bounds includes within includes, which may go in a circle.
const maxIncludes = 8

// expand takes no more than left directives, and counts them off.
func (t *nginxTree) expand(dirs []*splice.Directive, depth int, left *int) []*splice.Directive {
	var out []*splice.Directive
	for _, d := range dirs {
		if *left--; *left <= 0 {
			break
		}
		if d.Name != "include" {
			out = append(out, d)
			continue
		}
		for _, pattern := range includes([]*splice.Directive{d}) {
			for _, p := range t.match(pattern) {
				if *left--; *left > 0 && !strings.HasPrefix(p, configDir+"/ecdeploy/") && depth < maxIncludes {
					out = append(out, t.expand(t.files[p].parsed, depth+1, left)...)
				}
			}
		}
	}
	return out
}

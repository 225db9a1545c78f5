package splice

import (
	"fmt"
	"strings"
)

// texts writes everything that Caddy reads except from one file, whose imports it
// counts. Caddy cannot tell configurations with the same text apart: it has all
// tokens, which of them start a line, and which files they are in.
func (c *CaddyConfig) texts(without string) (string, int) {
	var b strings.Builder
	count := 0
	for _, bl := range c.Blocks {
		if bl.Site() && bl.Keys[0].File == without {
			continue
		}
		fmt.Fprintf(&b, "block %v %v\n", bl.NamedRoute, bl.Braces)
		for _, k := range bl.Keys {
			fmt.Fprintf(&b, "%q %q\n", k.Text, k.File)
		}
		for _, d := range bl.Directives {
			for _, t := range d.Tokens {
				if t.File != without {
					fmt.Fprintf(&b, "%q %q %d %v ", t.Text, t.File, t.quote, t.New)
				}
			}
			if d.Tokens[0].File != without {
				b.WriteByte('\n')
			}
		}
	}
	for _, l := range c.imports {
		if l.pattern == without {
			count++
		}
	}
	return b.String(), count
}

// TopGlobs are the absolute patterns with a wildcard that are imported at the top
// level: Caddy reads a new file that matches one without any edit.
func (c *CaddyConfig) TopGlobs() []string {
	var out []string
	for _, l := range c.imports {
		if l.where == caddyTop && l.args == 0 && strings.HasPrefix(l.pattern, "/") && strings.Contains(l.pattern, "*") {
			out = append(out, l.pattern)
		}
	}
	return out
}

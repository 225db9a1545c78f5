package splice

import "strings"

// readBlock reads one block at the top level.
func (r *caddyReader) readBlock() error {
	r.block = CaddyBlock{}
	if err := r.addresses(); err != nil {
		return err
	}
	keep := func() {
		if len(r.block.Keys) > 0 || len(r.block.Directives) > 0 {
			r.config.Blocks = append(r.config.Blocks, r.block)
		}
	}
	if r.end { // a line of addresses and nothing else
		keep()
		return nil
	}
	if name, ok := parenthesized(r.block.Keys, "&("); ok {
		return r.namedRoute(name)
	}
	if name, ok := parenthesized(r.block.Keys, "("); ok {
		return r.snippet(name)
	}
	if r.block.Braces = r.cur.Open(); r.block.Braces {
		r.block.Open = r.cur
	} else {
		r.back()
	}
	if err := r.directives(); err != nil {
		return err
	}
	if r.block.Braces {
		if !r.cur.Close() {
			return r.fail(`unexpected end, expecting "}"`)
		}
		r.block.Close = r.cur
	}
	keep()
	return nil
}

// parenthesized is the name of a snippet or named route, if the keys are one.
func parenthesized(keys []CaddyToken, prefix string) (string, bool) {
	if len(keys) != 1 || !strings.HasPrefix(keys[0].Text, prefix) || !strings.HasSuffix(keys[0].Text, ")") {
		return "", false
	}
	return strings.TrimSuffix(keys[0].Text[len(prefix):], ")"), true
}

// addresses reads the addresses of a block, up to its brace or to the first token
// on another line.
func (r *caddyReader) addresses() error {
	more := false
	for {
		t := r.cur
		switch {
		case strings.HasPrefix(t.Text, "@"):
			return r.fail("a matcher outside of a site")
		case t.Text == "import" && t.New:
			if err := r.doImport(caddyTop); err != nil {
				return err
			}
			if !r.next() {
				r.end = true
				return nil
			}
			continue
		case t.Open() && more:
			return r.fail("missing address after the comma")
		case t.Open():
			return nil
		case strings.HasSuffix(t.Text, "{") && !t.Quoted():
			return r.fail("an address ends with a brace")
		}
		if t.Text != "" {
			t.Text, more = strings.CutSuffix(t.Text, ",")
			if strings.Contains(t.Text, ",") {
				return r.fail("an address contains a comma")
			}
			if t.Text != "" {
				r.block.Keys = append(r.block.Keys, t)
			}
		}
		if !r.next() {
			if more {
				return r.fail("missing address after the comma")
			}
			r.end = true
			return nil
		}
		if !more && r.cur.New {
			return nil
		}
	}
}

// rawBlock reads a block without expanding its imports. The current token must
// be its opening brace.
func (r *caddyReader) rawBlock() ([]CaddyToken, error) {
	if !r.cur.Open() {
		return nil, r.fail(`expecting "{"`)
	}
	r.block.Open, r.block.Braces = r.cur, true
	tokens := []CaddyToken{}
	for depth := 1; ; tokens = append(tokens, r.cur) {
		if !r.next() {
			return nil, r.fail(`unexpected end, expecting "}"`)
		}
		if r.cur.Open() {
			depth++
		}
		if r.cur.Close() {
			if depth--; depth == 0 {
				r.block.Close = r.cur
				return tokens, nil
			}
		}
	}
}

func (r *caddyReader) snippet(name string) error {
	if _, ok := r.snippets[name]; ok {
		return r.fail("duplicate snippet")
	}
	tokens, err := r.rawBlock()
	if err != nil {
		return err
	}
	for i := range tokens {
		tokens[i].snippet = name
	}
	r.snippets[name] = tokens
	return nil
}

// namedRoute reads a named route. Its imports are not expanded: of the 2.11
// versions, only later ones do that.
func (r *caddyReader) namedRoute(name string) error {
	key := r.cur
	key.Text = name
	tokens, err := r.rawBlock()
	if err != nil {
		return err
	}
	r.block.Keys, r.block.NamedRoute = []CaddyToken{key}, true
	r.block.Directives = []CaddyDirective{{Tokens: append([]CaddyToken{key}, tokens...)}}
	r.config.Blocks = append(r.config.Blocks, r.block)
	return nil
}

// directives reads directives up to the brace that closes the block, or to the
// end.
func (r *caddyReader) directives() error {
	for r.next() {
		if r.cur.Close() {
			return nil
		}
		if r.cur.Text == "import" {
			if err := r.doImport(caddyOwn); err != nil {
				return err
			}
			continue
		}
		if err := r.directive(); err != nil {
			return err
		}
	}
	r.end = true
	return nil
}

// directive reads a directive, up to the end of its line or of its block.
func (r *caddyReader) directive() error {
	d := CaddyDirective{Tokens: []CaddyToken{r.cur}}
	depth := 0
	for r.next() {
		t := r.cur
		switch {
		case t.Open():
			depth++
			if !r.lastOfLine() {
				return r.fail(`text after "{" on the same line`)
			}
			if t.New {
				return r.fail(`"{" on a line of its own`)
			}
		case t.Text == "{}" && !t.Quoted():
			if r.lastOfLine() {
				return r.fail(`"{}" ends a line`)
			}
		case t.New && depth == 0:
			r.back()
			r.block.Directives = append(r.block.Directives, d)
			return nil
		case t.Close() && depth == 0:
			return r.fail(`unexpected "}"`)
		case t.Close():
			depth--
		case t.Text == "import" && t.New:
			if err := r.doImport(caddyDeeper); err != nil {
				return err
			}
			continue
		}
		d.Tokens = append(d.Tokens, t)
	}
	if depth > 0 {
		return r.fail(`unexpected end, expecting "}"`)
	}
	r.block.Directives = append(r.block.Directives, d)
	return nil
}

package splice

import (
	"path"
	"strings"
)

// doImport replaces an import with a snippet, or with the files that its pattern
// matches. The current token is the word import; afterwards it is the token
// before that, so that next() reads the first imported one.
func (r *caddyReader) doImport(where caddyLevel) error {
	line := caddyLine{word: r.cur, where: where}
	before := r.last
	if r.lastOfLine() || !r.next() || r.cur.Open() {
		return r.fail("import without the name of a file or snippet")
	}
	name := r.cur
	if name.Text == "" {
		return r.fail("import with an empty path")
	}
	args := r.importArgs()
	line.args = len(args)
	body, hasBody, err := r.importBody()
	if err != nil {
		return err
	}
	if hasBody {
		line.args++
	}
	line.last = r.cur
	tokens, err := r.imported(name, &line)
	if err != nil {
		return err
	}
	if err := r.fits(len(tokens)); err != nil {
		return err
	}
	r.config.imports = append(r.config.imports, line)
	r.last, r.cur, r.started = CaddyToken{}, before, before.File != ""
	out, err := expandImport(tokens, args, body, where)
	if err != nil {
		return r.fail("%v", err)
	}
	if err := r.fits(len(out)); err != nil {
		return err
	}
	r.ahead = append(r.ahead, out)
	return nil
}

// importArgs reads the rest of the line, up to a brace.
func (r *caddyReader) importArgs() []CaddyToken {
	var args []CaddyToken
	for {
		t, ok := r.peek()
		if !ok || newLine(r.cur, t) || t.Open() {
			return args
		}
		r.next()
		args = append(args, r.cur)
	}
}

// importBody reads the block after an import, as NextBlock of
// caddyconfig/caddyfile/dispenser.go does.
func (r *caddyReader) importBody() ([]CaddyToken, bool, error) {
	t, ok := r.peek()
	if !ok || newLine(r.cur, t) || !t.Open() {
		return nil, false, nil
	}
	r.next()
	if !r.next() {
		return nil, false, r.fail(`unexpected end, expecting "}"`)
	}
	var body []CaddyToken
	for depth := 1; !r.cur.Close() || body != nil; {
		body = append(body, r.cur)
		if !r.next() {
			return nil, false, r.fail(`unexpected end, expecting "}"`)
		}
		switch {
		case r.cur.Close() && r.lastOfLine():
			depth--
		case r.cur.Open() && r.lastOfLine():
			depth++
		case r.cur.Close() || r.cur.Open():
			return nil, false, r.fail("text after a brace on the same line")
		}
		if depth == 0 {
			break
		}
	}
	return body, true, nil
}

// imported are the unexpanded tokens of a snippet or of files.
func (r *caddyReader) imported(name CaddyToken, line *caddyLine) ([]CaddyToken, error) {
	if tokens, ok := r.snippets[name.Text]; ok {
		line.pattern = name.Text
		return tokens, nil
	}
	pattern := absoluteImport(r.cur, name.Text)
	line.pattern = pattern
	_, err := path.Match(pattern, "")
	many := strings.Count(pattern, "*") > 1 || strings.Count(pattern, "?") > 1
	if err != nil || many || strings.Contains(pattern, "[") && strings.Contains(pattern, "]") {
		return nil, r.fail("an import has more than one wildcard")
	}
	files, known := r.src.Matches[pattern]
	if _, ok := r.src.Files[pattern]; ok && !known {
		files, known = []string{pattern}, true
	}
	if !known {
		r.config.Unread = append(r.config.Unread, pattern)
		return nil, nil
	}
	if len(files) == 0 && !strings.ContainsAny(pattern, "*?[]") {
		return nil, r.fail("an imported file does not exist")
	}
	var out []CaddyToken
	for _, file := range files {
		if strings.HasPrefix(path.Base(pattern), "*") && strings.HasPrefix(path.Base(file), ".") {
			continue
		}
		text, ok := r.src.Files[file]
		if !ok {
			r.config.Unread = append(r.config.Unread, file)
			continue
		}
		tokens, err := r.lex(file, text)
		if err != nil {
			return nil, err
		}
		out = append(out, tokens...)
	}
	return out, nil
}

// expandImport inserts the arguments and the block of an import into the imported
// tokens, and marks them as read through it.
func expandImport(tokens, args, body []CaddyToken, where caddyLevel) ([]CaddyToken, error) {
	mapping, err := importMapping(body)
	if err != nil {
		return nil, err
	}
	chains := map[*caddyImport]*caddyImport{}
	out := make([]CaddyToken, 0, len(tokens))
	def := caddyDefinition{top: where == caddyTop}
	for _, t := range tokens {
		if chains[t.chain] == nil {
			chains[t.chain] = &caddyImport{from: t.chain}
		}
		t.chain = chains[t.chain]
		if def.holds(t, out) {
			out = append(out, t)
			continue
		}
		if t.Text == "{block}" {
			out = append(out, body...)
			continue
		}
		if key, ok := strings.CutPrefix(t.Text, "{blocks."); ok && strings.HasSuffix(key, "}") {
			out = append(out, mapping[strings.TrimSuffix(key, "}")]...)
			continue
		}
		if from, to, ok := variadic(t.Text, len(args)); ok {
			for _, arg := range args[from:to] {
				t.Text = arg.Text
				out = append(out, t)
			}
			continue
		}
		t.Text = fillArgs(t.Text, args)
		out = append(out, t)
	}
	return out, nil
}

// caddyDefinition finds snippet definitions in a file that is imported at the top
// level: {args[0]} and {block} in them belong to a later import.
type caddyDefinition struct {
	top    bool
	index  int // of the token on its line
	depth  int
	named  bool // a name of a snippet began the line
	inside bool
}

// holds reports whether t belongs to a definition; before are the tokens before
// it.
func (d *caddyDefinition) holds(t CaddyToken, before []CaddyToken) bool {
	if !d.top {
		return false
	}
	if !d.inside && d.depth == 0 {
		d.index++
		if len(before) == 0 || newLine(before[len(before)-1], t) {
			d.index = 0
		}
		if d.index == 0 && len(t.Text) >= 3 && t.Text[0] == '(' && strings.HasSuffix(t.Text, ")") {
			d.named = true
		}
	}
	switch {
	case t.Open():
		d.depth++
		if d.index == 1 && d.named && d.depth == 1 {
			d.inside, d.named = true, false
		}
	case t.Close():
		d.depth--
		if d.depth == 0 && d.inside {
			d.inside = false
		}
	}
	return d.inside
}

package splice

import (
	"errors"
	"fmt"
	"path"
	"slices"
)

// Limits on what is read, imports counted each time: far more than is usual.
const (
	maxCaddyTokens  = 500_000
	maxCaddyImports = 20_000
)

// caddyReader groups tokens into blocks and directives as
// caddyconfig/caddyfile/parse.go of Caddy 2.11 does. Caddy inserts the tokens of
// an import into one long list; here the tokens still to be read are a stack of
// lists, of which the last is read first.
type caddyReader struct {
	src      CaddySource
	config   CaddyConfig
	lexed    map[string][]CaddyToken
	snippets map[string][]CaddyToken
	ahead    [][]CaddyToken
	last     CaddyToken // the token before cur
	cur      CaddyToken
	started  bool // cur is a token
	imports  int
	tokens   int
	end      bool // there are no more tokens, and the last block is complete
	block    CaddyBlock
}

// ReadCaddy reads a configuration as Caddy does, including imports and
// environment variables. It gives no directive a meaning. Errors name file and
// line. Two things that Caddy accepts are errors: a quoted brace on its own,
// which versions of Caddy read differently, and a brace from a variable.
func ReadCaddy(src CaddySource) (*CaddyConfig, error) {
	r := caddyReader{src: src, lexed: map[string][]CaddyToken{}, snippets: map[string][]CaddyToken{}}
	text, ok := src.Files[src.Main]
	if !ok {
		return nil, fmt.Errorf("%s is not among the files", src.Main)
	}
	tokens, err := r.lex(src.Main, text)
	if err != nil {
		return nil, err
	}
	r.ahead = [][]CaddyToken{tokens}
	for !r.end && r.next() {
		if err := r.readBlock(); err != nil {
			return nil, err
		}
	}
	slices.Sort(r.config.Unread)
	r.config.Unread = slices.Compact(r.config.Unread)
	slices.Sort(r.config.Unset)
	r.config.Unset = slices.Compact(r.config.Unset)
	return &r.config, nil
}

// lex reads the words of a file, once.
func (r *caddyReader) lex(file string, src []byte) ([]CaddyToken, error) {
	if tokens, ok := r.lexed[file]; ok {
		return tokens, nil
	}
	text := fillCaddyEnv(src, r.src.Env)
	r.config.Unset = append(r.config.Unset, text.unset...)
	tokens, err := lexCaddy(file, text)
	if err != nil {
		return nil, err
	}
	for _, t := range tokens {
		switch {
		case t.Quoted() && (t.Text == "{" || t.Text == "}"):
			return nil, fmt.Errorf("%s: a quoted brace on its own, which versions of Caddy read differently", t.Place())
		case t.env && (t.Open() || t.Close()):
			return nil, fmt.Errorf("%s: a brace comes from an environment variable", t.Place())
		}
	}
	r.lexed[file] = tokens
	return tokens, nil
}

func (r *caddyReader) fail(format string, args ...any) error {
	if !r.started {
		return fmt.Errorf(format, args...)
	}
	return fmt.Errorf("%s: %s", r.cur.Place(), fmt.Sprintf(format, args...))
}

// peek is the next token.
func (r *caddyReader) peek() (CaddyToken, bool) {
	for n := len(r.ahead); n > 0; n = len(r.ahead) {
		if top := r.ahead[n-1]; len(top) > 0 {
			return top[0], true
		}
		r.ahead = r.ahead[:n-1]
	}
	return CaddyToken{}, false
}

// next moves on by one token; false at the end.
func (r *caddyReader) next() bool {
	t, ok := r.peek()
	if !ok {
		return false
	}
	top := len(r.ahead) - 1
	r.ahead[top] = r.ahead[top][1:]
	t.New = !r.started || newLine(r.cur, t)
	r.last, r.cur, r.started = r.cur, t, true
	return true
}

// back undoes next.
func (r *caddyReader) back() {
	r.ahead = append(r.ahead, []CaddyToken{r.cur})
	r.cur = r.last
	r.started = r.cur.File != ""
}

// lastOfLine reports whether no token follows on the line of the current one.
func (r *caddyReader) lastOfLine() bool {
	t, ok := r.peek()
	return !ok || newLine(r.cur, t)
}

var errCaddySize = errors.New("the configuration is too large, or its imports form a cycle")

// fits counts the tokens of an import against the limits.
func (r *caddyReader) fits(tokens int) error {
	r.imports++
	r.tokens += tokens
	if r.imports > maxCaddyImports || r.tokens > maxCaddyTokens {
		return errCaddySize
	}
	return nil
}

// absoluteImport resolves a pattern as Caddy does: relative to the file that has
// the import.
func absoluteImport(t CaddyToken, pattern string) string {
	if path.IsAbs(pattern) {
		return pattern
	}
	return path.Join(path.Dir(t.File), pattern)
}

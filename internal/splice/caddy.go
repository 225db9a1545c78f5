package splice

import "fmt"

// CaddySource is a Caddy configuration on a host, with all files that the main
// file may import.
type CaddySource struct {
	Main  string            // absolute path of the Caddyfile
	Files map[string][]byte // absolute path -> text, at least of Main

	// Matches maps an absolute import pattern to the files that it matches on
	// the host, in the order of a glob; an empty list for none. A plain path in
	// Files needs no entry.
	Matches map[string][]string

	// Env is the environment of Caddy's process, for {$NAME}. nil: unknown; then
	// {$NAME} stays in the text.
	Env map[string]string
}

// CaddyToken is one token of a Caddyfile. Off and End are its byte range in File,
// including quotes; if it comes from an environment variable, the range of
// {$NAME}.
type CaddyToken struct {
	Text string // unquoted, escapes resolved, {$NAME} and {args[0]} replaced
	File string
	Off  int
	End  int
	Line int  // the first is 1
	New  bool // starts a line, as Caddy counts lines

	quote   byte         // '"', '`', '<' for a heredoc, 0 for none
	env     bool         // at least part of it comes from an environment variable
	snippet string       // the name of the snippet that contains it
	chain   *caddyImport // the import through which it was read, or nil
}

// caddyImport is one execution of an import; the pointer is its identity.
type caddyImport struct{ from *caddyImport }

// Open reports whether the token opens a block.
func (t CaddyToken) Open() bool { return t.Text == "{" && t.quote == 0 }

// Close reports whether the token closes a block.
func (t CaddyToken) Close() bool { return t.Text == "}" && t.quote == 0 }

// Quoted reports whether the token was written in quotes or as a heredoc.
func (t CaddyToken) Quoted() bool { return t.quote != 0 }

// Place is the file and line of the token for messages.
func (t CaddyToken) Place() string { return fmt.Sprintf("%s:%d", t.File, t.Line) }

// breaks is how many line breaks the token spans beyond its first line.
func (t CaddyToken) breaks() int {
	n := 0
	for i := range len(t.Text) {
		if t.Text[i] == '\n' {
			n++
		}
	}
	if t.quote == '<' {
		n += 2 // the line of the opening mark, and the one of the closing mark
	}
	return n
}

// newLine reports whether t2, which follows t1, starts a line, by the rules of
// Caddy's isNextOnNewLine.
func newLine(t1, t2 CaddyToken) bool {
	return t1.File != t2.File || t1.chain != t2.chain || t1.Line+t1.breaks() < t2.Line
}

// CaddyDirective is a directive with its arguments and its block, if any, as one
// list of tokens; Tokens[0] is its name.
type CaddyDirective struct{ Tokens []CaddyToken }

// Name is the directive's name.
func (d CaddyDirective) Name() string { return d.Tokens[0].Text }

// Args are the arguments on the directive's first line.
func (d CaddyDirective) Args() []string {
	var args []string
	for _, t := range d.Tokens[1:] {
		if t.Open() || t.New {
			break
		}
		args = append(args, t.Text)
	}
	return args
}

// Lines are the lines of the directive's block, each with its own block, if any;
// nil if the directive has no block.
func (d CaddyDirective) Lines() []CaddyDirective {
	var out []CaddyDirective
	depth := 0
	for _, t := range d.Tokens[1:] {
		switch {
		case t.Close():
			depth--
		case depth == 1 && t.New:
			out = append(out, CaddyDirective{})
		}
		if depth > 0 && len(out) > 0 {
			last := &out[len(out)-1]
			last.Tokens = append(last.Tokens, t)
		}
		if t.Open() {
			depth++
		}
	}
	return out
}

// CaddyBlock is one block at the top level of what Caddy reads: the global
// options (no keys), a site, or a named route.
type CaddyBlock struct {
	Keys       []CaddyToken // addresses; of a named route its name
	Directives []CaddyDirective
	NamedRoute bool
	Braces     bool       // false for a single site without braces
	Open       CaddyToken // the braces around the block, if any
	Close      CaddyToken
}

// Global reports whether the block holds the global options.
func (b CaddyBlock) Global() bool { return len(b.Keys) == 0 }

// Site reports whether the block is a site.
func (b CaddyBlock) Site() bool { return len(b.Keys) > 0 && !b.NamedRoute }

// CaddyConfig is what Caddy reads, with all imports expanded.
type CaddyConfig struct {
	Blocks []CaddyBlock

	// Unread are absolute patterns and paths that are imported but missing from
	// CaddySource. While there are any, the rest is incomplete, and the name of a
	// snippet from a missing file looks like a path.
	Unread []string

	// Unset are the names of the environment variables in the text, if
	// CaddySource has no environment.
	Unset []string

	imports []caddyLine // each execution of an import, in order
}

// caddyLine is an import directive that was executed.
type caddyLine struct {
	pattern string     // absolute, or the snippet's name
	word    CaddyToken // "import"
	last    CaddyToken // the last token of its line
	args    int        // arguments, and 1 more for a block
	where   caddyLevel
}

// caddyLevel says where an import is.
type caddyLevel int

const (
	caddyTop    caddyLevel = iota // at the top level
	caddyOwn                      // directly in a block
	caddyDeeper                   // inside a directive
)

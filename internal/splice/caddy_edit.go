package splice

import (
	"bytes"
	"errors"
	"fmt"
	"maps"
	"regexp"
)

var caddyPathRE = regexp.MustCompile(`^/[A-Za-z0-9_./@-]+$`)

// CaddyImport makes `import PATH` the first line of the site that serves
// https://HOST/PREFIX/ (SiteFor), with the site's own indent and line endings;
// nil if the site already imports PATH. The edits are for file, one of src.
// importPath is absolute and consists of letters, digits and _ - . / @; its
// text need not be in src, and is ignored. It also refuses if it is unknown
// which site serves the name, and if that site has no braces.
func CaddyImport(src CaddySource, host, prefix, importPath string) (file string, edits []Edit, err error) {
	e, err := newCaddyEdit(src, importPath, caddyOwn)
	if err != nil {
		return "", nil, err
	}
	i, doubt := e.before.SiteFor(host, prefix)
	switch {
	case doubt != "":
		return "", nil, e.refused(errors.New(doubt))
	case i < 0:
		return "", nil, e.refused(errors.New("no site serves the name"))
	}
	site := e.before.Blocks[i]
	file = site.Keys[0].File
	if e.imports(site) {
		return file, nil, nil
	}
	edit, err := e.firstLine(site)
	if err != nil {
		return file, nil, e.refused(err)
	}
	after, err := e.verify(site.Open.File, []Edit{edit}, 1)
	if err != nil {
		return file, nil, err
	}
	if d := after.Blocks[i].Directives[0]; d.Tokens[0].File != e.path {
		return file, nil, e.refused(errOtherDirectives)
	}
	return site.Open.File, []Edit{edit}, nil
}

// CaddyTopImport makes `import PATH` the last line of the main file; nil if the
// configuration already imports PATH. PATH is as for CaddyImport. It refuses a
// file with a single site without braces, because the end belongs to that site.
func CaddyTopImport(src CaddySource, importPath string) ([]Edit, error) {
	e, err := newCaddyEdit(src, importPath, caddyTop)
	if err != nil {
		return nil, err
	}
	for _, b := range e.before.Blocks {
		switch {
		case b.Site() && b.Keys[0].File == e.path:
			return nil, nil
		case b.Site() && !b.Braces:
			return nil, e.refused(errNoBraces)
		}
	}
	text := src.Files[src.Main]
	if bytes.HasSuffix(text, []byte("\r")) {
		return nil, e.refused(errors.New("the file ends with a bare carriage return"))
	}
	eol := "\n"
	if bytes.Contains(text, []byte("\r\n")) {
		eol = "\r\n"
	}
	edit := Edit{Off: len(text), Text: "import " + importPath}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		edit.Text = eol + edit.Text
	} else {
		edit.Text += eol
	}
	after, err := e.verify(src.Main, []Edit{edit}, 1)
	if err != nil {
		return nil, err
	}
	if last := after.Blocks[len(after.Blocks)-1]; !last.Site() || last.Keys[0].File != e.path {
		return nil, e.refused(errOtherDirectives)
	}
	return []Edit{edit}, nil
}

// CaddyRemoveImport removes all lines `import PATH` from a file of src, at the top
// level or directly in a site; nil if there are none. It restores the exact
// bytes from before CaddyImport or CaddyTopImport.
func CaddyRemoveImport(src CaddySource, file, importPath string) ([]Edit, error) {
	plain, err := readMarked(src, importPath, "")
	if err != nil {
		return nil, refused(err, "")
	}
	where := caddyOwn
	for _, l := range plain.imports {
		if l.pattern == importPath && l.where == caddyTop {
			where = caddyTop
		}
	}
	e, err := newCaddyEdit(src, importPath, where)
	if err != nil {
		return nil, err
	}
	var edits []Edit
	runs, at := 0, -1
	for _, l := range e.before.imports {
		if l.pattern != importPath || l.word.File != file || l.args > 0 || l.where == caddyDeeper {
			continue
		}
		runs++
		if l.word.Off > at { // a file may be read several times
			edits = append(edits, withoutLine(src.Files[file], l.word.Off, l.last.End))
			at = l.word.Off
		}
	}
	if edits == nil {
		return nil, nil
	}
	if _, err := e.verify(file, edits, -runs); err != nil {
		return nil, refused(err, "")
	}
	return edits, nil
}

var (
	errNoBraces        = errors.New("the file has a single site without braces: put { after its addresses, and } on a line of its own after its last line")
	errOtherDirectives = errors.New("the edit would change other directives too")
)

// The text that replaces our own file while an edit is checked: a directive, or
// a site.
const (
	caddySiteMark = "ecdeploy.invalid\n"
	caddyTopMark  = "ecdeploy.invalid {\n}\n"
)

// caddyEdit is an edit in progress.
type caddyEdit struct {
	src    CaddySource // with a mark as the text of path
	path   string
	before *CaddyConfig // how Caddy reads src
}

// newCaddyEdit reads the configuration with a mark as the text of path, which is
// not imported, or only at that level.
func newCaddyEdit(src CaddySource, path string, where caddyLevel) (*caddyEdit, error) {
	if !caddyPathRE.MatchString(path) {
		return nil, fmt.Errorf("import path %q: only absolute paths of letters, digits and _ - . / @ are written", path)
	}
	e := &caddyEdit{src: src, path: path}
	plain, err := readMarked(src, path, "")
	if err != nil {
		return nil, e.refused(err)
	}
	for _, l := range plain.imports {
		if l.pattern == path && (l.where == caddyTop) != (where == caddyTop) {
			return nil, e.refused(errors.New("the file is imported already, but at another level"))
		}
	}
	mark := caddySiteMark
	if where == caddyTop {
		mark = caddyTopMark
	}
	if e.before, err = readMarked(src, path, mark); err != nil {
		return nil, e.refused(err)
	}
	e.src = withText(src, path, []byte(mark))
	return e, nil
}

// withText is src with a different text for one file.
func withText(src CaddySource, path string, text []byte) CaddySource {
	src.Files, src.Matches = maps.Clone(src.Files), maps.Clone(src.Matches)
	src.Files[path] = text
	delete(src.Matches, path) // it is there
	return src
}

// readMarked reads the whole configuration with mark as the text of path.
func readMarked(src CaddySource, path, mark string) (*CaddyConfig, error) {
	c, err := ReadCaddy(withText(src, path, []byte(mark)))
	if err != nil {
		return nil, err
	}
	if len(c.Unread) > 0 {
		return nil, fmt.Errorf("%s is imported and was not read", c.Unread[0])
	}
	return c, nil
}

func (e *caddyEdit) refused(err error) error { return refused(err, "import "+e.path+"\n") }

// imports reports whether a site imports our file at its own level.
func (e *caddyEdit) imports(site CaddyBlock) bool {
	for _, d := range site.Directives {
		if d.Tokens[0].File == e.path {
			return true
		}
	}
	return false
}

// firstLine adds our line after the line of the site's opening brace.
func (e *caddyEdit) firstLine(site CaddyBlock) (Edit, error) {
	if !site.Braces {
		return Edit{}, errNoBraces
	}
	if site.Open.snippet != "" {
		return Edit{}, errors.New("the site is written in a snippet")
	}
	text := e.src.Files[site.Open.File]
	tokens, err := lexCaddy(site.Open.File, fillCaddyEnv(text, e.src.Env))
	if err != nil {
		return Edit{}, err
	}
	at := site.Open.End
	n := bytes.IndexByte(text[at:], '\n')
	for i, t := range tokens {
		if t.Off <= site.Open.Off {
			continue
		}
		if !t.New || n < 0 {
			return Edit{}, errors.New("there is text after the site's opening brace on the same line")
		}
		indent, first := indentOf(text, t.Off)
		if !first || t.Close() {
			indent, _ = indentOf(text, tokens[i-1].Off)
			indent += "\t"
		}
		eol := "\n"
		if n > 0 && text[at+n-1] == '\r' {
			eol = "\r\n"
		}
		return Edit{Off: at + n + 1, Text: indent + "import " + e.path + eol}, nil
	}
	return Edit{}, errors.New("the site's braces are not closed")
}

// withoutLine removes the bytes from..to, and their line if it contains nothing
// else. If that is the last line and has no line ending, the line ending before
// it goes too.
func withoutLine(text []byte, from, to int) Edit {
	indent, first := indentOf(text, from)
	rest := bytes.TrimLeft(text[to:], " \t\r")
	switch {
	case first && len(rest) > 0 && rest[0] == '\n':
		from, to = from-len(indent), len(text)-len(rest)+1
	case first && len(rest) == 0:
		from, to = from-len(indent), len(text)
		from = len(bytes.TrimSuffix(bytes.TrimSuffix(text[:from], []byte("\n")), []byte("\r")))
	}
	return Edit{Off: from, Len: to - from}
}

// verify reads the configuration again with the edits applied to file: our file
// must be imported that many more times, and everything else be unchanged.
func (e *caddyEdit) verify(file string, edits []Edit, more int) (*CaddyConfig, error) {
	text, err := Apply(e.src.Files[file], edits)
	if err != nil {
		return nil, e.refused(err)
	}
	after, err := ReadCaddy(withText(e.src, file, text))
	if err != nil {
		return nil, e.refused(errors.New("the site is written in a way that cannot be edited safely"))
	}
	want, n := e.before.texts(e.path)
	got, m := after.texts(e.path)
	if want != got || m != n+more {
		return nil, e.refused(errOtherDirectives)
	}
	return after, nil
}

package splice

import (
	"bytes"
	"fmt"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// caddyLexer splits a Caddyfile into tokens as caddyconfig/caddyfile/lexer.go of
// Caddy 2.11 does, including its quirks: a backslash at the end of a comment
// joins the next line to it.
type caddyLexer struct {
	text caddyText
	at   int // of the next byte
	line int

	skipped int // escaped line breaks since the last one that was counted

	// The token in progress.
	val      []byte
	tok      CaddyToken
	from, to int    // its byte range in text; from is -1 while it has no first byte
	slash    int    // offset of a backslash that applies to the next character, or -1
	open     byte   // the quote that it is in, or 0
	marker   string // of the heredoc that it is in
	plain    bool   // starts with \<, so it is not a heredoc
	comment  bool
	finished bool
}

// lexCaddy splits one file into tokens.
func lexCaddy(file string, text caddyText) ([]CaddyToken, error) {
	l := caddyLexer{text: text, line: 1}
	l.at = len(text.data) - len(bytes.TrimPrefix(text.data, []byte("\ufeff")))
	var out []CaddyToken
	for {
		ok, err := l.next()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		if !ok {
			return out, nil
		}
		l.tok.File, l.tok.Text = file, string(l.val)
		l.tok.Off, l.tok.End, l.tok.env = text.origin(l.from, l.to)
		l.tok.New = len(out) == 0 || newLine(out[len(out)-1], l.tok)
		out = append(out, l.tok)
	}
}

// next reads one token into tok and val; false at the end of the text.
func (l *caddyLexer) next() (bool, error) {
	l.val, l.from, l.slash, l.open, l.marker = nil, -1, -1, 0, ""
	l.plain, l.comment, l.finished = false, false, false
	for l.at < len(l.text.data) {
		off := l.at
		ch, n := utf8.DecodeRune(l.text.data[off:])
		l.at += n
		var err error
		switch {
		case l.open == 0 && l.marker == "" && !l.plain && bytes.HasPrefix(l.val, []byte("<<")):
			err = l.heredocHead(ch)
		case l.marker != "":
			err = l.heredocBody(ch)
		case l.slash < 0 && l.open != '`' && ch == '\\':
			l.slash = off
		case l.open != 0:
			l.inQuotes(ch)
		case unicode.IsSpace(ch):
			l.space(ch)
		default:
			l.character(ch, off)
		}
		if err != nil || l.finished {
			return l.finished, err
		}
	}
	if len(l.val) == 0 {
		return false, nil
	}
	if l.marker != "" {
		return false, fmt.Errorf("line %d: the heredoc <<%s does not end", l.tok.Line, l.marker)
	}
	l.tok.quote = 0 // also where a quote does not end
	return true, nil
}

// finish ends the token, which was written in that quote.
func (l *caddyLexer) finish(quote byte) {
	l.tok.quote, l.finished = quote, true
}

func (l *caddyLexer) add(ch rune) {
	l.val = utf8.AppendRune(l.val, ch)
	l.to = l.at
}

// newLine counts a line break that ends a line.
func (l *caddyLexer) newLine() {
	l.line += 1 + l.skipped
	l.skipped = 0
}

func (l *caddyLexer) inQuotes(ch rune) {
	switch {
	case l.open == '"' && l.slash >= 0:
		if ch != '"' {
			l.val = append(l.val, '\\')
		}
		l.slash = -1
	case ch == rune(l.open):
		l.to = l.at
		l.finish(l.open)
		return
	}
	if ch == '\n' {
		l.newLine()
	}
	l.add(ch)
}

func (l *caddyLexer) space(ch rune) {
	if ch == '\r' {
		return
	}
	if ch == '\n' {
		if l.slash >= 0 {
			l.skipped++
			l.slash = -1
		} else {
			l.newLine()
		}
		l.comment = false
	}
	if len(l.val) > 0 {
		l.finish(0)
	}
}

func (l *caddyLexer) character(ch rune, off int) {
	first := len(l.val) == 0
	if first && ch == '#' {
		l.comment = true
	}
	if l.comment {
		return
	}
	if first {
		l.tok = CaddyToken{Line: l.line}
		if l.from = off; l.slash >= 0 {
			l.from = l.slash
		}
		if ch == '"' || ch == '`' {
			l.open = byte(ch)
			return
		}
	}
	if l.slash >= 0 {
		if ch == '<' {
			l.plain = true
		} else {
			l.val = append(l.val, '\\')
		}
		l.slash = -1
	}
	l.add(ch)
}

var heredocMarkerRE = regexp.MustCompile(`^[A-Za-z0-9_-]+$`)

// heredocHead reads what follows <<, up to the end of the line, or to a space,
// which makes it an ordinary token.
func (l *caddyLexer) heredocHead(ch rune) error {
	switch ch {
	case ' ':
		l.finish(0)
	case '\r':
	case '\n':
		marker := string(l.val[2:])
		if !heredocMarkerRE.MatchString(marker) {
			return fmt.Errorf("line %d: a heredoc's marker must be made of letters, digits, dashes and underscores", l.line)
		}
		l.marker, l.val = marker, nil
		l.skipped++
	default:
		l.add(ch)
	}
	return nil
}

func (l *caddyLexer) heredocBody(ch rune) error {
	l.add(ch)
	if ch == '\n' {
		l.skipped++
	}
	if !bytes.HasSuffix(l.val, []byte(l.marker)) {
		return nil
	}
	text := string(l.val)
	last := strings.LastIndexByte(text, '\n')
	pad := text[last+1 : len(text)-len(l.marker)]
	var out []string
	for line := range strings.Lines(text[:last+1]) {
		line = strings.TrimSuffix(line, "\n")
		if line != "" && line != "\r" && !strings.HasPrefix(line, pad) {
			return fmt.Errorf("line %d: a line of the heredoc <<%s is indented less than its end", l.line, l.marker)
		}
		out = append(out, strings.ReplaceAll(strings.TrimPrefix(line, pad), "\r", ""))
	}
	l.val = []byte(strings.Join(out, "\n"))
	l.line += l.skipped
	l.skipped = 0
	l.finish('<')
	return nil
}

package splice

import (
	"errors"
	"fmt"
	"strings"
)

// Directive is one directive of an nginx configuration with its byte range.
type Directive struct {
	Name string
	Args []string // unquoted, escapes resolved as nginx does

	Off, End int // byte range in the text, the closing ; or } included
	Line     int // of Name, the first is 1

	Block            bool         // it has { }
	Body             []*Directive // nil unless Block
	BodyOff, BodyEnd int          // byte range between the braces
}

// maxNginxDepth is far above any configuration that nginx takes.
const maxNginxDepth = 200

// ParseNginx reads an nginx configuration file, whole or a file that another
// one includes, with the rules of nginx's own reader
// (ngx_conf_read_token). A block that holds code (*_by_lua_block) is an error,
// since its braces are not nginx's. Errors name the line.
func ParseNginx(src []byte) ([]*Directive, error) {
	p := nginxParser{src: src, line: 1}
	return p.block(0)
}

type nginxParser struct {
	src  []byte
	at   int
	line int
}

func (p *nginxParser) fail(format string, args ...any) error {
	return fmt.Errorf("line %d: %s", p.line, fmt.Sprintf(format, args...))
}

// block reads directives up to the closing brace, or to the end of the text at
// depth 0.
func (p *nginxParser) block(depth int) ([]*Directive, error) {
	if depth > maxNginxDepth {
		return nil, p.fail("blocks are too deeply nested")
	}
	out := []*Directive{}
	for {
		d, end, err := p.directive()
		switch {
		case err != nil:
			return nil, err
		case end == 0 && depth > 0:
			return nil, p.fail(`unexpected end of file, expecting "}"`)
		case end == '}' && depth == 0:
			return nil, p.fail(`unexpected "}"`)
		case end == 0 || end == '}':
			return out, nil
		}
		out = append(out, d)
		if end == '{' {
			if strings.HasSuffix(d.Name, "_by_lua_block") {
				return nil, fmt.Errorf("line %d: a block of Lua is not read", d.Line)
			}
			d.Block, d.BodyOff = true, p.at
			if d.Body, err = p.block(depth + 1); err != nil {
				return nil, err
			}
			d.BodyEnd = p.at - 1
		}
		d.End = p.at
	}
}

// directive reads a name and arguments and the byte that ends them: ; { } or 0
// for the end of the text.
func (p *nginxParser) directive() (*Directive, byte, error) {
	var d *Directive
	for {
		p.blank()
		if p.at == len(p.src) {
			if d != nil {
				return nil, 0, p.fail(`unexpected end of file, expecting ";" or "{"`)
			}
			return nil, 0, nil
		}
		switch c := p.src[p.at]; c {
		case ';', '{':
			if d == nil {
				return nil, 0, p.fail("unexpected %q", c)
			}
			p.at++
			return d, c, nil
		case '}':
			if d != nil {
				return nil, 0, p.fail("unexpected %q", c)
			}
			p.at++
			return nil, c, nil
		}
		off, line := p.at, p.line
		word, err := p.word()
		if err != nil {
			return nil, 0, err
		}
		if d == nil {
			d = &Directive{Name: word, Off: off, Line: line}
		} else {
			d.Args = append(d.Args, word)
		}
	}
}

// blank skips white space and comments.
func (p *nginxParser) blank() {
	comment := false
	for ; p.at < len(p.src); p.at++ {
		switch c := p.src[p.at]; {
		case c == '\n':
			comment = false
			p.line++
		case comment || isNginxSpace(c):
		case c == '#':
			comment = true
		default:
			return
		}
	}
}

func isNginxSpace(c byte) bool { return c == ' ' || c == '\t' || c == '\r' || c == '\n' }

// word reads one word, quoted or not.
func (p *nginxParser) word() (string, error) {
	start, quote := p.at, byte(0)
	if c := p.src[p.at]; c == '"' || c == '\'' {
		quote = c
		start++
		p.at++
	}
	variable := false
	for ; p.at < len(p.src); p.at++ {
		c := p.src[p.at]
		if c == '\n' {
			p.line++
		}
		switch {
		case c == '{' && variable: // ${name}
			continue
		case c == '\\':
			p.at++
			if p.at < len(p.src) && p.src[p.at] == '\n' {
				p.line++
			}
		case quote != 0 && c == quote:
			p.at++
			return unescapeNginx(p.src[start : p.at-1]), p.afterQuote()
		case quote == 0 && (isNginxSpace(c) || c == ';' || c == '{'):
			if c == '\n' {
				p.line-- // blank counts it
			}
			return unescapeNginx(p.src[start:p.at]), nil
		}
		variable = c == '$'
	}
	p.at = len(p.src)
	return "", p.fail(`unexpected end of file, expecting ";" or "}"`)
}

// afterQuote checks what follows a quoted word.
func (p *nginxParser) afterQuote() error {
	if p.at < len(p.src) && !isNginxSpace(p.src[p.at]) && strings.IndexByte(";{)", p.src[p.at]) < 0 {
		return p.fail("unexpected %q", p.src[p.at])
	}
	return nil
}

func unescapeNginx(text []byte) string {
	out := make([]byte, 0, len(text))
	for i := 0; i < len(text); i++ {
		if text[i] == '\\' && i+1 < len(text) {
			switch text[i+1] {
			case '"', '\'', '\\':
				i++
			case 't', 'r', 'n':
				i++
				out = append(out, map[byte]byte{'t': '\t', 'r': '\r', 'n': '\n'}[text[i]])
				continue
			}
		}
		out = append(out, text[i])
	}
	return string(out)
}

var errNoServer = errors.New("the text has no block at the place of the server")

// blockAt finds the directive with a block at a byte range.
func blockAt(dirs []*Directive, off, end int) (*Directive, error) {
	for _, d := range dirs {
		if d.Block && d.Off == off && d.End == end {
			return d, nil
		}
		if d.Off <= off && end <= d.End {
			return blockAt(d.Body, off, end)
		}
	}
	return nil, errNoServer
}

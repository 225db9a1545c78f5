package splice

import (
	"bytes"
	"errors"
	"fmt"
	"regexp"
	"strings"
)

var includePathRE = regexp.MustCompile(`^[A-Za-z0-9_./+@*-]+$`)

// NginxInclude makes the line `include PATH;` the last of a server block; nil
// when the block has it already, anywhere at its own level. server comes from
// ParseNginx(src); only its Off and End are used. includePath must be made of
// letters, digits and _ - . / + @ * only.
func NginxInclude(src []byte, server *Directive, includePath string) ([]Edit, error) {
	block, err := nginxBlock(src, server, includePath)
	if err != nil {
		return nil, err
	}
	for _, d := range block.Body {
		if isInclude(d, includePath) {
			return nil, nil
		}
	}
	edits := []Edit{lastLine(src, block, "include "+includePath+";")}
	return verifyNginx(src, edits, block, includePath, 1)
}

// NginxRemoveInclude takes all lines `include PATH;` out of a server block;
// nil when there are none. After NginxInclude it gives the bytes of before.
func NginxRemoveInclude(src []byte, server *Directive, includePath string) ([]Edit, error) {
	block, err := nginxBlock(src, server, includePath)
	if err != nil {
		return nil, err
	}
	var edits []Edit
	at := block.BodyOff
	for _, d := range block.Body {
		if isInclude(d, includePath) {
			e := withoutDirective(src, d)
			e.Len -= max(at-e.Off, 0)
			e.Off = max(e.Off, at)
			edits = append(edits, e)
			at = e.Off + e.Len
		}
	}
	if edits == nil {
		return nil, nil
	}
	return verifyNginx(src, edits, block, includePath, 0)
}

func isInclude(d *Directive, path string) bool {
	return d.Name == "include" && !d.Block && len(d.Args) == 1 && d.Args[0] == path
}

func nginxBlock(src []byte, server *Directive, path string) (*Directive, error) {
	if !includePathRE.MatchString(path) {
		return nil, fmt.Errorf("include path %q: only letters, digits and _ - . / + @ * are written", path)
	}
	lines := "include " + path + ";\n"
	dirs, err := ParseNginx(src)
	if err != nil {
		return nil, refused(err, lines)
	}
	block, err := blockAt(dirs, server.Off, server.End)
	if err != nil {
		return nil, refused(err, lines)
	}
	return block, nil
}

// lastLine adds a directive as the last of a block: on a line of its own where
// the closing brace has one, else right before the brace.
func lastLine(src []byte, block *Directive, text string) Edit {
	closing := lineStartOf(src, block.BodyEnd)
	if closing <= block.BodyOff-1 || len(bytes.Trim(src[closing:block.BodyEnd], " \t\r")) > 0 {
		at := block.BodyOff + len(bytes.TrimRight(src[block.BodyOff:block.BodyEnd], " \t"))
		return Edit{Off: at, Text: " " + text}
	}
	eol := "\n"
	if bytes.HasSuffix(src[:closing], []byte("\r\n")) {
		eol = "\r\n"
	}
	return Edit{Off: closing, Text: bodyIndent(src, block) + text + eol}
}

// bodyIndent is the indent of the last directive of a block that begins a
// line; else one step more than that of the block.
func bodyIndent(src []byte, block *Directive) string {
	for i := len(block.Body) - 1; i >= 0; i-- {
		if indent, ok := indentOf(src, block.Body[i].Off); ok && block.Body[i].Off > block.BodyOff {
			return indent
		}
	}
	indent, _ := indentOf(src, block.Off)
	if strings.Contains(indent, "\t") {
		return indent + "\t"
	}
	return indent + "    "
}

func lineStartOf(src []byte, off int) int { return bytes.LastIndexByte(src[:off], '\n') + 1 }

// indentOf is the indent of the line of off, and whether off comes right
// behind it.
func indentOf(src []byte, off int) (string, bool) {
	line := src[lineStartOf(src, off):off]
	rest := bytes.TrimLeft(line, " \t")
	return string(line[:len(line)-len(rest)]), len(rest) == 0
}

// withoutDirective takes out a directive and the lines that hold nothing else.
func withoutDirective(src []byte, d *Directive) Edit {
	indent, first := indentOf(src, d.Off)
	from, to := d.Off, d.End
	rest := bytes.TrimLeft(src[to:], " \t\r")
	switch {
	case first && len(rest) == 0:
		from, to = from-len(indent), len(src)
	case first && rest[0] == '\n':
		from, to = from-len(indent), len(src)-len(rest)+1
	default:
		from = len(bytes.TrimRight(src[:from], " \t"))
	}
	return Edit{Off: from, Len: to - from}
}

// verifyNginx gives the edits back where the text after them is right: the
// block has the include line count times, and all else is as before.
func verifyNginx(src []byte, edits []Edit, block *Directive, path string, count int) ([]Edit, error) {
	lines := ""
	if count > 0 {
		lines = "include " + path + ";\n"
	}
	text, err := Apply(src, edits)
	if err != nil {
		return nil, refused(err, lines)
	}
	before, err := ParseNginx(src)
	if err != nil {
		return nil, refused(err, lines)
	}
	after, err := ParseNginx(text)
	if err != nil {
		return nil, refused(errors.New("the block is written in a way that is not edited"), lines)
	}
	want, _ := nginxTexts(before, block.Off, path)
	got, n := nginxTexts(after, block.Off, path)
	if n != count || want != got {
		return nil, refused(errors.New("the edit would change other directives too"), lines)
	}
	return edits, nil
}

// nginxTexts writes all directives but for the include lines of the block at
// off, which it counts.
func nginxTexts(dirs []*Directive, off int, path string) (string, int) {
	var b strings.Builder
	count := 0
	var write func(dirs []*Directive, target bool)
	write = func(dirs []*Directive, target bool) {
		for _, d := range dirs {
			if target && isInclude(d, path) {
				count++
				continue
			}
			fmt.Fprintf(&b, "%q %q", d.Name, d.Args)
			if d.Block {
				b.WriteString("{\n")
				write(d.Body, d.Off == off)
				b.WriteString("}")
			}
			b.WriteString("\n")
		}
	}
	write(dirs, false)
	return b.String(), count
}

package splice

import "errors"

// Directive is one directive of an nginx configuration with its byte range.
type Directive struct {
	Name string
	Args []string // unquoted, escapes resolved as nginx does

	Off, End int // byte range in the text, the closing ; or } included
	Line     int // of Name, the first is 1

	Block            bool         // it has { }
	Body             []*Directive // nil unless Block; empty for a Lua block
	BodyOff, BodyEnd int          // byte range between the braces
}

// ParseNginx reads an nginx configuration file, whole or a file that another
// one includes, with the rules of nginx's own reader. *_by_lua_block bodies
// are skipped by Lua's rules. Errors name the line.
func ParseNginx(src []byte) ([]*Directive, error) {
	return nil, errors.New("not written yet")
}

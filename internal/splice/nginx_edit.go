package splice

import "errors"

// NginxInclude makes the line `include PATH;` the last of a server block; nil
// when the block has it already, anywhere at its own level. server comes from
// ParseNginx(src); only its Off and End are used. includePath must be made of
// letters, digits and _ - . / + @ * only.
func NginxInclude(src []byte, server *Directive, includePath string) ([]Edit, error) {
	return nil, errors.New("not written yet")
}

// NginxRemoveInclude takes all lines `include PATH;` out of a server block;
// nil when there are none.
func NginxRemoveInclude(src []byte, server *Directive, includePath string) ([]Edit, error) {
	return nil, errors.New("not written yet")
}

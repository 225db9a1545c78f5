package synapse

import (
	"regexp"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// environment are the variables of a unit, which its command line may name
// (systemd.exec(5), systemd.service(5) "Command lines").
type environment struct {
	Files  []string // of EnvironmentFile=, in order; patterns, too
	Values map[string]string
}

// set takes in Environment= as `systemctl show` prints it: A=1 "B=2".
func (e *environment) set(property string) {
	for word := range strings.FieldsSeq(property) {
		e.assign(strings.Trim(word, `"`))
	}
}

// read takes in the lines of the files, which win over Environment=.
func (e *environment) read(files []host.File) {
	for _, f := range files {
		for line := range strings.Lines(string(f.Data)) {
			if line = strings.TrimSpace(line); !strings.HasPrefix(line, "#") && !strings.HasPrefix(line, ";") {
				e.assign(line)
			}
		}
	}
}

func (e *environment) assign(text string) {
	name, value, ok := strings.Cut(text, "=")
	if !ok {
		return
	}
	if e.Values == nil {
		e.Values = map[string]string{}
	}
	value = strings.TrimSpace(value)
	if n := len(value); n > 1 && (value[0] == '"' || value[0] == '\'') && value[n-1] == value[0] {
		value = value[1 : n-1]
	}
	e.Values[strings.TrimSpace(name)] = value
}

// variable is a variable in a word of a command line.
var variable = regexp.MustCompile(`\$(?:\{\w+\}|\w+)`)

// fill fills in the variables of a command line. One that stands alone becomes as
// many words as it holds; one that nobody set stays, so that it can be named.
func (e environment) fill(argv []string) []string {
	var out []string
	for _, word := range argv {
		filled := variable.ReplaceAllStringFunc(word, func(v string) string {
			if value, ok := e.Values[strings.Trim(v, "${}")]; ok && (v == word || v[1] == '{') {
				return value
			}
			return v
		})
		if filled != word && word[1] != '{' && word[0] == '$' {
			out = append(out, strings.Fields(filled)...)
			continue
		}
		out = append(out, filled)
	}
	return out
}

// needed reports whether a command line has variables.
func (e environment) needed(argv []string) bool {
	return slices.ContainsFunc(argv, variable.MatchString)
}

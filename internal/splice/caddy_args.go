package splice

import (
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// importMapping maps the first word of each line or block inside an import's
// block to the rest, for {blocks.NAME}.
func importMapping(body []CaddyToken) (map[string][]CaddyToken, error) {
	out := map[string][]CaddyToken{}
	for i := 0; i < len(body); {
		if body[i].Open() {
			return nil, refuse("import with an anonymous block")
		}
		key, from := body[i].Text, i+1
		for i++; i < len(body) && !newLine(body[i-1], body[i]) && !body[i].Open(); i++ {
		}
		tokens := slices.Clone(body[from:i])
		if i < len(body) && body[i].Open() && !newLine(body[i-1], body[i]) {
			for depth := 1; depth > 0; {
				if i++; i == len(body) {
					break
				}
				if body[i].Open() {
					depth++
				}
				if body[i].Close() {
					depth--
				}
				if depth > 0 {
					tokens = append(tokens, body[i])
				}
			}
			i++
		}
		out[key] = tokens
	}
	return out, nil
}

// variadic reads {args[1:3]}: the range of n arguments that it stands for.
func variadic(text string, n int) (from, to int, ok bool) {
	inner, ok := strings.CutPrefix(text, "{args[")
	if !ok || !strings.HasSuffix(inner, "]}") {
		return 0, 0, false
	}
	start, end, ok := strings.Cut(strings.TrimSuffix(inner, "]}"), ":")
	if !ok || strings.Contains(start, "}") || strings.Contains(end, "{") {
		return 0, 0, false
	}
	to = n
	var err error
	if start != "" {
		if from, err = strconv.Atoi(start); err != nil {
			return 0, 0, false
		}
	}
	if end != "" {
		if to, err = strconv.Atoi(end); err != nil {
			return 0, 0, false
		}
	}
	return from, to, from >= 0 && from <= to && to <= n
}

var (
	argRE    = regexp.MustCompile(`^args\[(.+)\]$`)
	oldArgRE = regexp.MustCompile(`^args\.(.+)$`)
)

// fillArgs fills in {args[0]} and removes backslashes before braces, as
// ReplaceKnown of Caddy's replacer.go does for imported text.
func fillArgs(text string, args []CaddyToken) string {
	var b strings.Builder
	done := 0
scan:
	for i := 0; i < len(text); i++ {
		if i > 0 && text[i-1] == '\\' && (text[i] == '}' || text[i] == '{') {
			b.WriteString(text[done : i-1])
			done = i
			continue
		}
		if text[i] != '{' {
			continue
		}
		end := strings.IndexByte(text[i:], '}') + i
		if end < i {
			continue
		}
		for end > 0 && end < len(text)-1 && text[end-1] == '\\' {
			n := strings.IndexByte(text[end+1:], '}')
			if n < 0 {
				continue scan
			}
			end += n + 1
		}
		b.WriteString(text[done:i])
		arg, ok := argValue(text[i+1:end], args)
		if done = i; !ok {
			continue
		}
		b.WriteString(arg)
		i = end
		done = i + 1
	}
	return b.String() + text[done:]
}

func argValue(key string, args []CaddyToken) (string, bool) {
	for _, re := range []*regexp.Regexp{oldArgRE, argRE} {
		m := re.FindStringSubmatch(key)
		if m == nil {
			continue
		}
		if n, err := strconv.Atoi(m[1]); err == nil && n >= 0 && n < len(args) {
			return args[n].Text, true
		}
	}
	return "", false
}

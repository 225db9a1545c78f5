package plans

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/function"
	"github.com/zclconf/go-cty/cty/function/stdlib"
)

// maxFile is the most that file() reads, in bytes: it is for keys and lists.
const maxFile = 1 << 20

// functions are what expressions of a plan file may call.
func (l *loader) functions() map[string]function.Function {
	return map[string]function.Function{
		"env":        l.reader("name", l.env),
		"file":       l.reader("path", l.readFile),
		"chomp":      stdlib.ChompFunc,
		"coalesce":   stdlib.CoalesceFunc,
		"concat":     stdlib.ConcatFunc,
		"format":     stdlib.FormatFunc,
		"join":       stdlib.JoinFunc,
		"length":     stdlib.LengthFunc,
		"lower":      stdlib.LowerFunc,
		"regex":      stdlib.RegexFunc,
		"replace":    stdlib.ReplaceFunc,
		"split":      stdlib.SplitFunc,
		"substr":     stdlib.SubstrFunc,
		"trim":       stdlib.TrimFunc,
		"trimprefix": stdlib.TrimPrefixFunc,
		"trimspace":  stdlib.TrimSpaceFunc,
		"trimsuffix": stdlib.TrimSuffixFunc,
		"upper":      stdlib.UpperFunc,
	}
}

// reader is a function that takes a text from outside the file. In the first
// pass its result is a placeholder: no secret is read before the file is right.
func (l *loader) reader(param string, read func(string) (string, error)) function.Function {
	return function.New(&function.Spec{
		Params: []function.Parameter{{Name: param, Type: cty.String}},
		Type:   function.StaticReturnType(cty.String),
		Impl: func(args []cty.Value, _ cty.Type) (cty.Value, error) {
			if l.placeholders {
				return cty.UnknownVal(cty.String).RefineNotNull(), nil
			}
			s, err := read(args[0].AsString())
			switch {
			case err != nil:
				return cty.NilVal, err
			case !utf8.ValidString(s) || changed(s):
				return cty.NilVal, errors.New("what it gives is no UTF-8 in composed characters (Unicode NFC), and would be changed")
			}
			return cty.StringVal(s), nil
		},
	})
}

func (l *loader) env(name string) (string, error) {
	if v, ok := l.opts.Environ(name); ok {
		return v, nil
	}
	return "", NoVariable(name)
}

// readFile reads a text file; a line end at its end does not count.
func (l *loader) readFile(name string) (string, error) {
	path := l.local(name)
	st, err := os.Stat(path)
	if err != nil {
		return "", NoFile(name, err)
	}
	if !st.Mode().IsRegular() || st.Size() > maxFile {
		return "", NoFile(name, fmt.Errorf("this is not a file of at most %d bytes", maxFile))
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", NoFile(name, err)
	}
	return strings.TrimRight(string(b), "\r\n"), nil
}

// eval evaluates an expression; false where it cannot be.
func (l *loader) eval(e hclsyntax.Expression) (cty.Value, bool) {
	if !l.references(e) {
		return cty.DynamicVal, false
	}
	v, ds := e.Value(l.ctx)
	l.diagnostics(ds)
	return v, !ds.HasErrors()
}

// references checks that all names in an expression are known.
func (l *loader) references(e hclsyntax.Expression) bool {
	ok := true
	for _, t := range e.Variables() {
		root, at := t.RootName(), t.SourceRange()
		name, has := step(t)
		switch {
		case l.ctx.Variables == nil:
			l.fail(at, "a default cannot refer to anything", "write the value itself")
			ok = false
		case root == "host" && has:
			ok = l.knownHost(name, at) && ok
		case root == "var" && has:
			if _, known := l.vars[name]; !known {
				l.fail(at, fmt.Sprintf("there is no variable %q", name), l.suggestVar(name))
				ok = false
			}
		case root == "host", root == "var": // an index that is computed
		case l.secret(at): // the word is the credential itself, without quotes
			l.fail(at, "this is no text", `write env("NAME"), or quotes around it`)
			ok = false
		default:
			l.fail(at, fmt.Sprintf("unknown name %q", root), l.suggestName(root))
			ok = false
		}
	}
	return ok
}

// step is the name after host or var in a reference.
func step(t hcl.Traversal) (string, bool) {
	if len(t) < 2 {
		return "", false
	}
	switch s := t[1].(type) {
	case hcl.TraverseAttr:
		return s.Name, true
	case hcl.TraverseIndex:
		if s.Key.Type() == cty.String && s.Key.IsKnown() && !s.Key.IsNull() {
			return s.Key.AsString(), true
		}
	}
	return "", false
}

func (l *loader) knownHost(name string, at hcl.Range) bool {
	if slices.Contains(l.hostNames, name) {
		return true
	}
	detail := fmt.Sprintf("add host %q { address = \"...\" }", name)
	if near := nearest(name, l.hostNames); near != "" {
		detail = "did you mean host." + near + "?"
	} else if len(l.hostNames) > 0 {
		detail += ", or use one of host." + strings.Join(slices.Sorted(slices.Values(l.hostNames)), ", host.")
	}
	l.fail(at, fmt.Sprintf("there is no host %q", name), detail)
	return false
}

func (l *loader) suggestVar(name string) string {
	if near := nearest(name, slices.Collect(maps.Keys(l.vars))); near != "" {
		return "did you mean var." + near + "?"
	}
	return fmt.Sprintf("add variable %q { default = ... }", name)
}

func (l *loader) suggestName(name string) string {
	_, isVar := l.vars[name]
	switch {
	case slices.Contains(l.hostNames, name):
		return "did you mean host." + name + "?"
	case isVar:
		return "did you mean var." + name + "?"
	}
	return fmt.Sprintf("write host.NAME or var.NAME for a reference, %q for text", name)
}

// variableBlock is a value that may be given from outside the plan file.
type variableBlock struct {
	Default     cty.Value `hcl:"default,optional"`     // none: it must be given
	Description string    `hcl:"description,optional"` // for readers of the file
}

// variables finds the value of each variable: --var, else ECDEPLOY_VAR_name,
// else its default.
func (l *loader) variables(nodes []*node) {
	l.vars, l.given = map[string]cty.Value{}, map[string]bool{}
	for _, n := range nodes {
		if _, ok := l.vars[n.label]; ok {
			l.fail(n.name, fmt.Sprintf("variable %q: duplicate block", n.label), "keep one of the blocks")
			continue
		}
		if n.label != "" && !hclsyntax.ValidIdentifier(n.label) {
			l.fail(n.name, fmt.Sprintf("%q is no name for a variable", n.label), "use letters, digits, - and _ only")
		}
		b := variableBlock{Default: cty.NilVal}
		l.fill(n, &b)
		l.vars[n.label] = l.variable(n, b.Default)
	}
	for _, name := range sortedKeys(l.opts.Vars) {
		if _, ok := l.vars[name]; !ok {
			l.fail(hcl.Range{},
				fmt.Sprintf("--var %s: the plan file has no variable of that name", name),
				suggestion(name, slices.Collect(maps.Keys(l.vars)), "it has "))
		}
	}
}

func (l *loader) variable(n *node, def cty.Value) cty.Value {
	text, ok := l.opts.Vars[n.label]
	if !ok {
		text, ok = l.opts.Environ("ECDEPLOY_VAR_" + n.label)
	}
	if ok {
		l.given[n.label] = true
	}
	switch {
	case ok && (!utf8.ValidString(text) || changed(text)):
		l.fail(n.name,
			fmt.Sprintf("the value given for variable %q is no UTF-8 in composed characters (Unicode NFC), and would be changed", n.label),
			"correct --var or ECDEPLOY_VAR_"+n.label)
		return cty.DynamicVal
	case ok:
		return l.fromOutside(n, text, def)
	case n.hasAttr("default") && def != cty.NilVal:
		return def
	case n.hasAttr("default"), l.opts.Validate:
		return cty.DynamicVal
	}
	l.fail(n.name,
		fmt.Sprintf("variable %q has no value", n.label),
		fmt.Sprintf("give --var %s=VALUE, export ECDEPLOY_VAR_%s, or add a default", n.label, n.label))
	return cty.DynamicVal
}

// fromOutside makes text a value of the default's type. A list is written as
// in the plan file.
func (l *loader) fromOutside(n *node, text string, def cty.Value) cty.Value {
	if def == cty.NilVal || def.Type() == cty.DynamicPseudoType {
		return cty.StringVal(text)
	}
	if !def.Type().IsPrimitiveType() {
		e, ds := hclsyntax.ParseExpression([]byte(text), "--var", hcl.InitialPos)
		if !ds.HasErrors() {
			if v, more := e.Value(nil); !more.HasErrors() {
				return v
			}
		}
		l.fail(n.name, fmt.Sprintf("the value given for variable %q cannot be read", n.label), "write it as in a plan file, like [\"a\", \"b\"]")
		return cty.DynamicVal
	}
	v, err := convert.Convert(cty.StringVal(text), def.Type())
	if err != nil {
		l.fail(n.name,
			fmt.Sprintf("the value given for variable %q must be %s, as its default is", n.label, described(def.Type())),
			"correct --var or ECDEPLOY_VAR_"+n.label)
		return cty.DynamicVal
	}
	return v
}

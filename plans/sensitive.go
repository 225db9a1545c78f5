package plans

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// Messages quote the line that is wrong, so what is a secret has to be known before
// anything is: by the type of the attribute that it is written for. Of attributes
// that do not exist (a name is misspelt, or stands in the wrong block) the name tells.

// sensitiveName finds names that say that the value is a secret.
var sensitiveName = regexp.MustCompile(`(?i)secret|token|pass|key|credential`)

// What variables and files are called: their names may be shown. A secret that was
// written in place of one rarely looks like it.
var (
	variableName = regexp.MustCompile(`^([A-Z_][A-Z0-9_]*|[a-z_]+)$`)
	fileName     = regexp.MustCompile(`^(\.{0,2}/|~)|^[\w-]+(/[\w.-]+)*\.\w{1,8}$|^[a-z_-]+$`)
)

// NoVariable is the error for a variable of the environment that is not there. Its
// name is shown where it looks like one.
func NoVariable(name string) error {
	if !variableName.MatchString(name) {
		return errors.New("the environment has no variable of that name")
	}
	return fmt.Errorf("the environment has no %s", name)
}

// NoFile is the error for a file that could not be read for the reason err. Its name is
// shown where it looks like one.
func NoFile(name string, err error) error {
	if at := (*fs.PathError)(nil); errors.As(err, &at) {
		err = at.Err
	}
	if !fileName.MatchString(name) {
		return fmt.Errorf("read the file of that name: %w", err)
	}
	return fmt.Errorf("read %s: %w", name, err)
}

// schema are the attributes and blocks that a block may hold.
type schema struct {
	fields map[string]reflect.Type
	blocks map[string]func(label string) schema
	known  bool // false for a block that does not exist
	hides  bool // the block is about a secret: what it has no name for is one
}

// sensitive are the places of secrets in a plan file, in its order.
func (l *loader) sensitive(body *hclsyntax.Body) []hcl.Range {
	out := l.sensitiveIn(body, l.schemaOf("", reflect.TypeFor[fileBlock]()))
	slices.SortFunc(out, func(a, b hcl.Range) int { return cmp.Compare(a.Start.Byte, b.Start.Byte) })
	return out
}

// schemaOf is the schema of a struct with hcl tags, which a block is read into.
func (l *loader) schemaOf(block string, typ reflect.Type) schema {
	s := schema{fields: map[string]reflect.Type{}, blocks: map[string]func(string) schema{}, known: true, hides: sensitiveName.MatchString(block)}
	for _, f := range fieldsOf(typ) {
		ft := typ.FieldByIndex(f.index).Type
		if !f.block {
			s.fields[f.name] = ft
			continue
		}
		name := f.name
		if ft.Kind() == reflect.Pointer {
			s.blocks[name] = func(string) schema { return l.schemaOf(name, ft.Elem()) }
			continue
		}
		of := map[string]reflect.Type{
			"variable": reflect.TypeFor[variableBlock](), "host": reflect.TypeFor[hostBlock](), "site": reflect.TypeFor[siteBlock](),
		}[name]
		s.blocks[name] = func(string) schema { return l.schemaOf(name, of) }
	}
	scope, ok := map[reflect.Type]steps.Scope{reflect.TypeFor[siteBlock](): steps.InSite, reflect.TypeFor[hostBlock](): steps.InHost}[typ]
	if ok {
		for _, name := range l.blocks(scope) {
			s.blocks[name] = func(label string) schema { return l.variantSchema(name, label) }
		}
	}
	return s
}

func (l *loader) variantSchema(name, label string) schema {
	for _, v := range l.of(name) {
		if v.Label == label && v.Example != "" {
			return l.schemaOf(name, reflect.TypeOf(v.Config()).Elem())
		}
	}
	return schema{}
}

func (l *loader) sensitiveIn(body *hclsyntax.Body, s schema) []hcl.Range {
	var out []hcl.Range
	for name, a := range body.Attributes {
		typ, known := s.fields[name]
		switch {
		case known && typ == reflect.TypeFor[host.Secret](), !known && (s.hides || sensitiveName.MatchString(name)):
			if !isNamed(a.Expr) {
				out = append(out, a.Expr.Range())
			}
		case known && s.hides && name != "env" && name != "file" && typ.Kind() != reflect.Slice && isText(a.Expr),
			known && s.hides && name == "env" && !literalMatches(a.Expr, variableName),
			known && s.hides && name == "file" && !literalMatches(a.Expr, fileName): // the secret, where its place goes
			out = append(out, a.Expr.Range())
		}
	}
	for _, b := range body.Blocks {
		_, labelled := l.usage(b.Type)
		if !labelled && sensitiveName.MatchString(b.Type) {
			out = append(out, b.LabelRanges...)
		}
		inner := schema{hides: s.hides || sensitiveName.MatchString(b.Type)}
		if of := s.blocks[b.Type]; of != nil {
			inner = of(strings.Join(b.Labels, " "))
		}
		inner.hides = inner.hides || s.hides
		out = append(out, l.sensitiveIn(b.Body, inner)...)
	}
	return out
}

// isNamed reports whether an expression only says where a secret is: env("NAME") and
// file("PATH"), or a variable, whose value is never shown.
func isNamed(e hclsyntax.Expression) bool {
	switch e := e.(type) {
	case *hclsyntax.FunctionCallExpr:
		want := map[string]*regexp.Regexp{"env": variableName, "file": fileName}[e.Name]
		return want != nil && len(e.Args) > 0 && literalMatches(e.Args[0], want)
	case *hclsyntax.ScopeTraversalExpr:
		return e.Traversal.RootName() == "var" || e.Traversal.RootName() == "host"
	}
	return false
}

// isText reports whether an expression is plain text.
func isText(e hclsyntax.Expression) bool {
	t, ok := e.(*hclsyntax.TemplateExpr)
	return ok && t.IsStringLiteral()
}

// literalMatches reports whether an expression is one that matches, or is not plain
// text.
func literalMatches(e hclsyntax.Expression, want *regexp.Regexp) bool {
	t, ok := e.(*hclsyntax.TemplateExpr)
	if !ok || !t.IsStringLiteral() {
		return true
	}
	v, ds := t.Value(nil)
	return !ds.HasErrors() && v.Type() == cty.String && v.IsKnown() && want.MatchString(v.AsString())
}

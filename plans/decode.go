package plans

import (
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"
	"github.com/zclconf/go-cty/cty/convert"
	"github.com/zclconf/go-cty/cty/gocty"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// node is a block of the plan file, with the places of all that it says.
type node struct {
	kind  string // "sfu"; "" for the file itself
	label string
	def   hcl.Range // its first line
	name  hcl.Range // its label; def where it has none
	body  *hclsyntax.Body
	given map[string]given
	nodes map[string][]*node
}

// given is an attribute that the plan file sets.
type given struct {
	at      hcl.Range // of the value
	name    hcl.Range
	known   bool // its value was understood; false for a placeholder
	literal bool // it is plain text in the file
}

// title names the block in a sentence.
func (n *node) title() string {
	if n.kind == "" {
		return "the plan file"
	}
	return n.kind + " {}"
}

// hasAttr reports whether the plan file sets the attribute.
func (n *node) hasAttr(attr string) bool {
	if n == nil {
		return false
	}
	_, ok := n.given[attr]
	return ok
}

// known reports whether the attribute's value, or its default, can be checked.
func (n *node) known(attrs ...string) bool {
	for _, a := range attrs {
		if n.hasAttr(a) && !n.given[a].known {
			return false
		}
	}
	return true
}

// at is the place of an attribute's value, else of the block.
func (n *node) at(attr string) hcl.Range {
	if g, ok := n.given[attr]; ok {
		return g.at
	}
	return n.def
}

// child is the block's only block of that kind, or nil.
func (n *node) child(kind string) *node {
	if n == nil || len(n.nodes[kind]) == 0 {
		return nil
	}
	return n.nodes[kind][0]
}

// field is a struct field that carries an hcl tag.
type field struct {
	name     string
	required bool
	block    bool
	index    []int
}

func fieldsOf(t reflect.Type) []field {
	var out []field
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous {
			for _, e := range fieldsOf(f.Type) {
				e.index = append([]int{i}, e.index...)
				out = append(out, e)
			}
			continue
		}
		name, kind, _ := strings.Cut(f.Tag.Get("hcl"), ",")
		if name != "" {
			out = append(out, field{name: name, required: kind == "", block: kind == "block", index: f.Index})
		}
	}
	return out
}

// labelled are the kinds of block that carry one label, besides those of variants.
var labelled = map[string]string{
	"host": `host "NAME"`, "site": `site "SERVER NAME"`, "variable": `variable "NAME"`,
}

// usage is how to write a block with its label; false for one that carries none.
func (l *loader) usage(kind string) (string, bool) {
	if u, ok := labelled[kind]; ok {
		return u, true
	}
	for _, v := range l.of(kind) {
		if v.Label != "" {
			return fmt.Sprintf("%s %q", kind, v.Label), true
		}
	}
	return "", false
}

func (l *loader) node(b *hclsyntax.Block) *node {
	n := &node{kind: b.Type, def: b.DefRange(), name: b.DefRange(), body: b.Body, given: map[string]given{}, nodes: map[string][]*node{}}
	usage, wants := l.usage(b.Type)
	switch {
	case wants && len(b.Labels) == 0:
		l.fail(n.def, b.Type+" {} needs a label", "write "+usage+" {")
	case wants:
		n.label, n.name = b.Labels[0], b.LabelRanges[0]
		if wrong, fix := wrongText(n.label); wrong != "" {
			l.fail(n.name, "the label "+wrong, fix)
			n.label = ""
		}
		if len(b.Labels) > 1 {
			l.fail(b.LabelRanges[1], b.Type+" {} has one label too many", "write "+usage+" {")
		}
	case len(b.Labels) > 0:
		l.fail(b.LabelRanges[0], b.Type+" {} has no label", "write "+b.Type+" {")
	}
	return n
}

// fill decodes n into the struct that target points to, by its hcl tags.
// Blocks come as *struct, and as []*node where they carry labels.
func (l *loader) fill(n *node, target any) { l.fillWith(n, target, nil) }

// fillWith is fill for a block that holds blocks of variants, too, which it only
// collects.
func (l *loader) fillWith(n *node, target any, variants []string) {
	v := reflect.ValueOf(target).Elem()
	fields := fieldsOf(v.Type())
	l.unknownNames(n, fields, variants)
	for _, f := range fields {
		dst := v.FieldByIndex(f.index)
		if !f.block {
			l.fillAttr(n, f, dst)
			continue
		}
		found := n.nodes[f.name]
		if nodes, ok := dst.Addr().Interface().(*[]*node); ok {
			*nodes = found
			continue
		}
		for i, c := range found {
			if i > 0 {
				l.fail(c.def, fmt.Sprintf("%s {}: duplicate block", f.name), fmt.Sprintf("keep one; the first is in line %d", found[0].def.Start.Line))
				continue
			}
			if dst.IsNil() { // else it holds defaults
				dst.Set(reflect.New(dst.Type().Elem()))
			}
			l.fill(c, dst.Interface())
		}
	}
}

// unknownNames notes what the block holds and should not, and collects its
// blocks.
func (l *loader) unknownNames(n *node, fields []field, variants []string) {
	var attrs []string
	blocks := slices.Clone(variants)
	for _, f := range fields {
		if f.block {
			blocks = append(blocks, f.name)
		} else {
			attrs = append(attrs, f.name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(n.body.Attributes)) {
		if slices.Contains(attrs, name) {
			continue
		}
		at := n.body.Attributes[name].NameRange
		if slices.Contains(blocks, name) {
			l.fail(at, name+" is a block", "write "+name+" { ... } without an equals sign")
			continue
		}
		l.fail(at, fmt.Sprintf("%s has no attribute %q", n.title(), name), suggestion(name, attrs, "it has "))
	}
	for _, b := range n.body.Blocks {
		switch {
		case slices.Contains(blocks, b.Type):
			n.nodes[b.Type] = append(n.nodes[b.Type], l.node(b))
		case slices.Contains(attrs, b.Type):
			l.fail(b.TypeRange, b.Type+" is an attribute", "write "+b.Type+" = ...")
		case notBuilt[b.Type].what != "":
			l.fail(b.DefRange(), notBuilt[b.Type].what+" is not built yet", notBuilt[b.Type].wayOut)
		default:
			l.fail(b.DefRange(), fmt.Sprintf("%s has no block %q", n.title(), b.Type), suggestion(b.Type, blocks, "it has "))
		}
	}
}

// samples show how to write what is missing.
var samples = map[string]string{
	"address": `address = "203.0.113.10"`,
	"host":    `host = host.NAME`,
	"url":     `url = "https://matrix-rtc.example.org"`,
	"path":    `path = "/var/www/html/.well-known/matrix/client"`,
}

func (l *loader) fillAttr(n *node, f field, dst reflect.Value) {
	attr, ok := n.body.Attributes[f.name]
	if !ok {
		if f.required {
			l.fail(n.def, fmt.Sprintf("%s {} needs %s", n.kind, f.name), "add "+samples[f.name])
		}
		return
	}
	g := given{at: attr.Expr.Range(), name: attr.NameRange}
	if t, ok := attr.Expr.(*hclsyntax.TemplateExpr); ok {
		g.literal = t.IsStringLiteral()
	}
	g.known = l.assign(n, f, attr.Expr, dst)
	n.given[f.name] = g
}

// assign evaluates an expression into a struct field; false where the value
// is a placeholder or a mistake.
func (l *loader) assign(n *node, f field, e hclsyntax.Expression, dst reflect.Value) bool {
	val, ok := l.eval(e)
	if !ok {
		return false
	}
	if raw, ok := dst.Addr().Interface().(*cty.Value); ok {
		*raw = val
		return true
	}
	if d, ok := dst.Addr().Interface().(*time.Duration); ok {
		return l.assignDuration(f, e, val, d)
	}
	want := ctyType(dst.Type())
	val, err := convert.Convert(val, want)
	if err != nil {
		l.fail(e.Range(), f.name+" must be "+described(want), "write "+written(f.name, want))
		return false
	}
	if val.IsNull() {
		l.fail(e.Range(), f.name+" has no value", "remove the line for the default, or write "+written(f.name, want))
		return false
	}
	if !val.IsWhollyKnown() {
		return false
	}
	secret, hidden := dst.Addr().Interface().(*host.Secret)
	if hidden {
		*secret = host.NewSecret(val.AsString())
	} else if err := gocty.FromCtyValue(val, dst.Addr().Interface()); err != nil {
		l.fail(e.Range(), f.name+" must be "+described(want), "write "+written(f.name, want))
		return false
	}
	if wrong, fix := wrongTexts(val); wrong != "" {
		l.fail(e.Range(), f.name+" "+wrong, fix)
		return false
	}
	if path, ok := dst.Addr().Interface().(*steps.LocalPath); ok {
		*path = steps.LocalPath(l.local(string(*path)))
	}
	switch {
	case f.name == "host":
		return l.knownHost(dst.String(), e.Range())
	case f.name == "hosts":
		return !slices.ContainsFunc(dst.Interface().([]string), func(name string) bool { return !l.knownHost(name, e.Range()) })
	}
	return true
}

// assignDuration reads a time like 90s.
func (l *loader) assignDuration(f field, e hclsyntax.Expression, val cty.Value, d *time.Duration) bool {
	text, err := convert.Convert(val, cty.String)
	switch {
	case err != nil || text.IsNull():
		l.fail(e.Range(), f.name+" must be "+described(cty.String), "write "+written(f.name, cty.String))
		return false
	case !text.IsKnown():
		return false
	}
	read, wrong, fix := readDuration(f.name, text.AsString())
	if wrong != "" {
		l.fail(e.Range(), wrong, fix)
		return false
	}
	*d = read
	return true
}

// maxText is the longest text that an attribute may have, in bytes: as long as a
// path can be.
const maxText = 4096

// wrongTexts says why a text, or one of a list of them, could not arrive where it
// goes as it is written, and how to fix it; "" for nothing.
func wrongTexts(val cty.Value) (wrong, fix string) {
	if val.Type() == cty.String {
		return wrongText(val.AsString())
	}
	if val.Type().IsListType() {
		for _, v := range val.AsValueSlice() {
			if wrong, fix = wrongTexts(v); wrong != "" {
				break
			}
		}
	}
	return wrong, fix
}

func wrongText(s string) (wrong, fix string) {
	switch {
	case strings.Contains(s, "\x00"):
		return "holds a NUL, which no argument, path or setting can", "write it without"
	case !utf8.ValidString(s):
		return "is no UTF-8", "write it in UTF-8"
	case len(s) > maxText:
		return fmt.Sprintf("is longer than %d bytes", maxText), "write something shorter"
	}
	return "", ""
}

func ctyType(t reflect.Type) cty.Type {
	switch t.Kind() {
	case reflect.Int:
		return cty.Number
	case reflect.Bool:
		return cty.Bool
	case reflect.Slice:
		return cty.List(cty.String)
	default:
		return cty.String
	}
}

func described(t cty.Type) string {
	switch t {
	case cty.Number:
		return "a whole number"
	case cty.Bool:
		return "true or false"
	case cty.String:
		return "text"
	}
	return "a list of texts"
}

func written(name string, t cty.Type) string {
	switch t {
	case cty.Number:
		return name + " = 8080, say"
	case cty.Bool:
		return name + " = true"
	case cty.String:
		return name + ` = "..."`
	}
	return name + ` = ["...", "..."]`
}

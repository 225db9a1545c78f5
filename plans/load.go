package plans

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode/utf8"

	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"
	"github.com/zclconf/go-cty/cty"

	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/all"
)

// LoadOptions are what a plan file may take from outside.
type LoadOptions struct {
	Vars    map[string]string                // from --var; they win over ECDEPLOY_VAR_name
	Environ func(name string) (string, bool) // nil: os.LookupEnv
	// Variants are those that the file may name; nil: all that there are.
	Variants []steps.Variant
	// Validate leaves env(), file() and variables without a value as
	// placeholders, which no check looks at.
	Validate bool
}

// loader reads one plan file. It goes over the file twice: with placeholders
// for what env() and file() give, and only when that shows no error, with
// their values.
type loader struct {
	path         string
	src          []byte
	opts         LoadOptions
	placeholders bool
	parsed       bool
	ctx          *hcl.EvalContext
	vars         map[string]cty.Value
	given        map[string]bool // the variables with a value from outside
	variants     []steps.Variant
	hostNames    []string
	secrets      []hcl.Range // credentials that stand in the file
	mistakes     Mistakes
}

// Load reads a plan file. The File is nil when a mistake is more than a
// warning. It dials nothing and runs nothing.
func Load(path string, opts LoadOptions) (*File, Mistakes) {
	src, err := os.ReadFile(path)
	if err != nil {
		return nil, Mistakes{{Severity: SeverityError, File: path, Summary: err.Error(), Detail: "give the path of a plan file"}}
	}
	if IsSaved(src) {
		return nil, Mistakes{savedMistake(path, src)}
	}
	f, mistakes := load(path, src, opts)
	if f != nil {
		f.Sum = sumOf(src)
	}
	return f, mistakes
}

func load(path string, src []byte, opts LoadOptions) (*File, Mistakes) {
	if opts.Environ == nil {
		opts.Environ = os.LookupEnv
	}
	l := &loader{path: path, src: src, opts: opts, variants: opts.Variants, placeholders: true}
	if l.variants == nil {
		l.variants = all.Variants()
	}
	if !l.readable() {
		return nil, l.mistakes
	}
	parsed, ds := hclsyntax.ParseConfig(src, path, hcl.InitialPos)
	l.diagnostics(ds)
	body, ok := parsedBody(parsed)
	if l.mistakes.HasErrors() || !ok {
		return nil, l.mistakes.sorted()
	}
	l.parsed = true
	f := l.read(body)
	if !l.mistakes.HasErrors() && !opts.Validate {
		l.placeholders, l.mistakes = false, nil
		f = l.read(body)
	}
	if l.mistakes.HasErrors() {
		f = nil
	}
	if f != nil {
		f.variants = l.variants
	}
	return f, l.mistakes.sorted()
}

// What a plan file may be: more than any real one is. The parser calls itself
// for what stands within something else, and would end the program otherwise.
const (
	maxPlanFile  = 4 << 20 // bytes
	maxNested    = 250     // brackets, quotes and templates within each other
	maxOperators = 10_000
)

// readable notes what the parser must not see.
func (l *loader) readable() bool {
	if len(l.src) > maxPlanFile {
		l.fail(hcl.Range{Start: hcl.InitialPos, End: hcl.InitialPos}, fmt.Sprintf("the file has more than %d MiB", maxPlanFile>>20), "give the path of a plan file")
		return false
	}
	tokens, _ := hclsyntax.LexConfig(l.src, l.path, hcl.InitialPos) // the parser says the same again
	nested, operators := 0, 0
	for _, t := range tokens {
		if text := string(t.Bytes); (t.Type == hclsyntax.TokenQuotedLit || t.Type == hclsyntax.TokenStringLit) && utf8.ValidString(text) && changed(text) {
			l.fail(t.Range, "this text has letters and their accents apart, and would be read with both in one", "write composed characters (Unicode NFC)")
			return false
		}
		switch t.Type {
		case hclsyntax.TokenOParen, hclsyntax.TokenOBrace, hclsyntax.TokenOBrack, hclsyntax.TokenOQuote, hclsyntax.TokenOHeredoc, hclsyntax.TokenTemplateInterp:
			nested++
		case hclsyntax.TokenTemplateControl:
			nested++
			operators++ // its end is another one
		case hclsyntax.TokenCParen, hclsyntax.TokenCBrace, hclsyntax.TokenCBrack, hclsyntax.TokenCQuote, hclsyntax.TokenCHeredoc, hclsyntax.TokenTemplateSeqEnd:
			nested--
		case hclsyntax.TokenIdent, hclsyntax.TokenNewline, hclsyntax.TokenComment, hclsyntax.TokenEqual, hclsyntax.TokenComma,
			hclsyntax.TokenNumberLit, hclsyntax.TokenQuotedLit, hclsyntax.TokenStringLit, hclsyntax.TokenDot, hclsyntax.TokenEOF:
		default:
			operators++
		}
		if nested > maxNested || operators > maxOperators {
			l.fail(t.Range,
				"this is nested too deeply",
				fmt.Sprintf("write it with less than %d levels, and the whole file with less than %d operators", maxNested, maxOperators))
			return false
		}
	}
	return true
}

// changed reports whether a text would be read as another one: HCL brings all
// texts into Unicode's form NFC.
func changed(text string) bool { return cty.StringVal(text).AsString() != text }

func parsedBody(f *hcl.File) (*hclsyntax.Body, bool) {
	if f == nil {
		return nil, false
	}
	b, ok := f.Body.(*hclsyntax.Body)
	return b, ok
}

// fileBlock is the file's outermost level.
type fileBlock struct {
	Variables []*node `hcl:"variable,block"`
	Hosts     []*node `hcl:"host,block"`
	Sites     []*node `hcl:"site,block"`
}

// read decodes and checks the whole file once.
func (l *loader) read(body *hclsyntax.Body) *File {
	root := &node{def: hcl.Range{Filename: l.path, Start: hcl.InitialPos, End: hcl.InitialPos}, body: body, given: map[string]given{}, nodes: map[string][]*node{}}
	l.hostNames = nil
	l.ctx = &hcl.EvalContext{Functions: l.functions()}
	l.secrets = l.sensitive(body)
	var top fileBlock
	l.fill(root, &top)
	l.variables(top.Variables)
	hosts := map[string]cty.Value{}
	for _, n := range top.Hosts {
		if _, ok := hosts[n.label]; ok {
			l.fail(n.name, fmt.Sprintf("host %q: duplicate block", n.label), "give one of them another name")
			continue
		}
		hosts[n.label] = cty.StringVal(n.label)
		l.hostNames = append(l.hostNames, n.label)
	}
	l.ctx.Variables = map[string]cty.Value{"host": cty.ObjectVal(hosts), "var": cty.ObjectVal(l.vars)}
	f := &File{Path: l.path, Vars: sortedKeys(l.given)}
	var hostNodes, siteNodes []*node
	for _, n := range top.Hosts {
		f.Hosts, hostNodes = append(f.Hosts, l.host(n)), append(hostNodes, n)
	}
	for _, n := range top.Sites {
		f.Sites, siteNodes = append(f.Sites, l.site(n)), append(siteNodes, n)
	}
	if len(f.Sites) == 0 && !l.mistakes.HasErrors() {
		l.fail(root.def, "the plan file has no site", `add site "example.org" { ... }; hosts.example.hcl shows all of it`)
	}
	l.checkTogether(f, hostNodes, siteNodes)
	return f
}

// secret reports whether a place is inside a credential.
func (l *loader) secret(at hcl.Range) bool {
	return slices.ContainsFunc(l.secrets, func(s hcl.Range) bool { return s.ContainsPos(at.Start) })
}

// local is a path on this machine as the plan file means it: ~ is the home
// folder, and a relative path begins at the plan file.
func (l *loader) local(path string) string {
	if path == "" {
		return ""
	}
	if rest, ok := strings.CutPrefix(path, "~"); ok && (rest == "" || rest[0] == '/') {
		home, ok := l.opts.Environ("HOME")
		if !ok {
			home, _ = os.UserHomeDir() // no home folder: the path is named when it is opened
		}
		return filepath.Join(home, rest)
	}
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(l.path), path)
}

func (l *loader) pos(at hcl.Range) Pos {
	return Pos{File: l.path, Line: at.Start.Line, Column: at.Start.Column}
}

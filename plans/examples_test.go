package plans

import (
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"
	"github.com/hashicorp/hcl/v2"
	"github.com/hashicorp/hcl/v2/hclsyntax"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/all"
	"github.com/emdecloud/ecdeploy/steps/firewall"
)

const reference = "../hosts.example.hcl"

// Every example is right, down to warnings, and loads with nothing but the file
// at hand: no environment, no file it names.
func TestExamplesValidate(t *testing.T) {
	paths, err := filepath.Glob("examples/*.hcl")
	if err != nil {
		t.Fatal(err)
	}
	if len(paths) != 5 {
		t.Errorf("%d examples, expected 5", len(paths))
	}
	for _, p := range append(paths, reference) {
		f, mistakes := Load(p, LoadOptions{Validate: true, Environ: func(string) (string, bool) { return "", false }})
		if f == nil || len(mistakes) > 0 {
			t.Errorf("%s: %+v", p, mistakes)
		}
	}
}

// The five examples are of the shapes that their names say.
func TestExampleShapes(t *testing.T) {
	for name, want := range map[string][2]int{
		"one-host": {1, 1}, "sfu-apart": {1, 2}, "three-sites-five-hosts": {3, 5}, "archive-images": {1, 1}, "sudo-password": {1, 1},
	} {
		f, _ := Load("examples/"+name+".hcl", LoadOptions{Validate: true})
		if f == nil || len(f.Sites) != want[0] || len(f.Hosts) != want[1] {
			t.Errorf("%s: %+v", name, f)
		}
	}
}

// commented finds settings and blocks that stand behind a #.
var commented = regexp.MustCompile(`(?m)^(\s*)# ?(\s*(?:[a-z_]+\s+=\s|[a-z_]+ "[a-z]+" \{|\}).*)$`)

// The reference holds every attribute and block that a plan file may have, in
// its place; what excludes something else stands behind a #.
func TestReferenceIsComplete(t *testing.T) {
	src, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	src = commented.ReplaceAll(src, []byte("$1$2"))
	f, ds := hclsyntax.ParseConfig(src, reference, hcl.InitialPos)
	if ds.HasErrors() {
		t.Fatal(ds)
	}
	wantAll(t, "", f.Body.(*hclsyntax.Body), reflect.TypeFor[fileBlock]())
}

// variantsIn are the variants of blocks that stand in a site or a host, by their block.
func variantsIn(typ reflect.Type) map[string][]steps.Variant {
	scope, ok := map[reflect.Type]steps.Scope{reflect.TypeFor[siteBlock](): steps.InSite, reflect.TypeFor[hostBlock](): steps.InHost}[typ]
	out := map[string][]steps.Variant{}
	for _, v := range all.Variants() {
		if ok && v.Scope == scope && v.Example != "" {
			out[v.Block] = append(out[v.Block], v)
		}
	}
	return out
}

func wantAll(t *testing.T, path string, body *hclsyntax.Body, typ reflect.Type) {
	t.Helper()
	for block, variants := range variantsIn(typ) {
		for _, v := range variants {
			at := path + "." + block + " " + v.Label
			if b := blockIn(body, block, v.Label); b != nil {
				wantAll(t, at, b, reflect.TypeOf(v.Config()).Elem())
			} else if block != "firewall" || v.Label != "none" {
				t.Errorf("%s is missing in %s", at, reference)
			}
		}
	}
	for _, f := range fieldsOf(typ) {
		at := path + "." + f.name
		if !f.block {
			if body.Attributes[f.name] == nil {
				t.Errorf("%s is missing in %s", at, reference)
			}
			continue
		}
		b := blockIn(body, f.name, "")
		if b == nil {
			t.Errorf("%s is missing in %s", at, reference)
			continue
		}
		wantAll(t, at, b, blockType(typ.FieldByIndex(f.index).Type, f.name))
	}
}

// ownDefault finds a setting of which the reference says that its value is the
// default.
var ownDefault = regexp.MustCompile(`(?m)^ *(\w+) *= (.*?) +#.*(?:\bdefault ([^ :;]+)|this is the default)$`)

// What the reference calls a default is the value next to it, and leaving the
// line out changes nothing.
func TestReferenceKnowsDefaults(t *testing.T) {
	src, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	load := func(text string) *File {
		f, mistakes := load(reference, []byte(text), LoadOptions{Validate: true, Environ: environ})
		if f == nil {
			t.Fatalf("%+v", mistakes)
		}
		return f
	}
	// Where things stand, and a text besides what it means, are no settings.
	settings := cmp.Options{cmpopts.IgnoreTypes(Pos{}), cmpopts.IgnoreUnexported(File{}, firewall.Found{}), cmpopts.EquateComparable(host.Secret{})}
	whole := load(string(src))
	found := ownDefault.FindAllStringSubmatch(string(src), -1)
	if len(found) < 19 {
		t.Errorf("%d defaults found, there were 19", len(found))
	}
	for _, m := range found {
		if said := strings.Trim(m[3], `"`); said != "" && said != strings.Trim(m[2], `"`) {
			t.Errorf("%s = %s, and its default is said to be %s", m[1], m[2], said)
		}
		if d := cmp.Diff(whole, load(strings.Replace(string(src), m[0], "", 1)), settings); d != "" {
			t.Errorf("%s = %s is not the default:\n%s", m[1], m[2], d)
		}
	}
}

// The reference names every function.
func TestReferenceNamesFunctions(t *testing.T) {
	src, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	head, _, _ := strings.Cut(string(src), "\nvariable ")
	for name := range (&loader{}).functions() {
		if !regexp.MustCompile(`\b` + name + `\b`).MatchString(head) {
			t.Errorf("function %s is not in %s", name, reference)
		}
	}
}

func blockIn(body *hclsyntax.Body, kind, label string) *hclsyntax.Body {
	for _, b := range body.Blocks {
		if b.Type == kind && (label == "" || len(b.Labels) == 1 && b.Labels[0] == label) {
			return b.Body
		}
	}
	return nil
}

func blockType(t reflect.Type, kind string) reflect.Type {
	if t.Kind() == reflect.Pointer {
		return t.Elem()
	}
	return map[string]reflect.Type{"variable": reflect.TypeFor[variableBlock](), "host": reflect.TypeFor[hostBlock](), "site": reflect.TypeFor[siteBlock]()}[kind]
}

package plans

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// hostileFiles are plan files that nobody would write by accident.
var hostileFiles = []string{
	"", "\ufeff", "\x00", "\xff\xfe", "#", "/*", "site \"", "site \"x\" {", "site x {\n}\n", "host \"h\" {}\r\nsite \"x\" {}\r\n", "a = 1", "a {\n b {\n", "}",
	"site \"\" {\n}\n",
	"site \"a\nb\" {}\n",
	"host \"${env(\"X\")}\" {}\n",
	"host \"h\" {\n address = \"$(id)\"\n}\n",
	"host \"h\" {\n address = <<E\nx\nE\n}\n",
	"host \"h\" {\n port = 1e999999\n}\n",
	"variable \"a\" {\n default = [for x in [1] : x]\n}\n",
	"variable \"a\" {\n default = {a = {b = null}}\n}\nsite var.a {}\n",
	"variable \"host\" {}\nvariable \"a\" {\n default = var.a\n}\n",
	"site \"x.org\" {\n sfu {\n  host = host[\"h\"]\n  url = upper(lower(env(\"SECRET\")))\n }\n}\n",
	"site \"x.org\" {\n livekit_keys {\n secret = file(\"/etc/passwd\")\n key = regex(\"(\", \"x\")\n }\n}\n",
	"site \"x.org\" {\n livekit_keys {\n secret = \"${format(\"%s%d%v%q%#x\", env(\"SECRET\"), 1, null, [], 1)}\"\n }\n}\n",
	"site \"x.org\" {\n auth {\n full_access = [null, 1, env(\"SECRET\")]\n }\n}\n",
	"site \"x.org\" {\n verify {\n level = substr(env(\"SECRET\"), 99999999999, -1)\n }\n}\n",
	"host \"h\" {\n address = join(\",\", split(\"\", env(\"SECRET\")))\n jump = replace(\"a\", \"/(/\", \"b\")\n}\n",
	"host \"h\" {\n sudo_password {\n  ask = true\n  env = \"SECRET\"\n  command = []\n }\n}\n",
	"host \"h\" { address = \"x\", user = \"y\" }\n",
	strings.Repeat("(", 300),
	"a = " + strings.Repeat("[", 300),
	"a = \"" + strings.Repeat("${", 300),
}

// FuzzLoad: whatever the file holds, loading it ends and says where each mistake
// is. Validating reads nothing of the environment but variables' values.
func FuzzLoad(f *testing.F) {
	for _, text := range append([]string{rightFile, rightFile + secondSite, withVariables}, hostileFiles...) {
		f.Add(text)
	}
	paths, err := filepath.Glob("examples/*.hcl")
	if err != nil {
		f.Fatal(err)
	}
	for _, p := range append(paths, reference) {
		b, err := os.ReadFile(p)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(b))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, validate := range []bool{true, false} {
			file, mistakes := load("hosts.hcl", []byte(text), LoadOptions{Validate: validate, Environ: func(name string) (string, bool) {
				if validate && name != "HOME" && !strings.HasPrefix(name, "ECDEPLOY_VAR_") {
					t.Errorf("validating reads %q of the environment", name)
				}
				return "x", !strings.HasPrefix(name, "ECDEPLOY_VAR_")
			}})
			if (file == nil) != mistakes.HasErrors() {
				t.Errorf("file %v, mistakes %+v", file, mistakes)
			}
			for _, m := range mistakes {
				if m.Summary == "" || m.Line < 1 || m.Column < 1 || m.End <= m.Column {
					t.Errorf("%+v", m)
				}
			}
		}
	})
}

// What would make the parser call itself without end is a mistake at its place.
func TestNestedTooDeeply(t *testing.T) {
	for name, text := range map[string]string{
		"brackets":    "a = " + strings.Repeat("[", 1<<16),
		"parentheses": "a = " + strings.Repeat("(", 1<<16),
		"blocks":      strings.Repeat("a {\n", 1<<16),
		"templates":   "a = " + strings.Repeat("\"${", 1<<16),
		"not":         "a = " + strings.Repeat("!", 1<<16),
		"choices":     "a = " + strings.Repeat("true ? ", 1<<16),
		"conditions":  "a = \"" + strings.Repeat("%{if true}", 1<<16),
		"sums":        "a = (" + strings.Repeat("1+\n", 1<<16),
	} {
		f, m := load("hosts.hcl", []byte(rightFile+text), LoadOptions{Environ: environ})
		if f != nil || len(m) != 1 || m[0].Summary != "this is nested too deeply" || m[0].Line == 0 || m[0].Detail == "" {
			t.Errorf("%s: %d mistakes, the first is %+v", name, len(m), m[:min(1, len(m))])
		}
	}
	if f, m := load("hosts.hcl", []byte(rightFile+strings.Repeat("#", maxPlanFile)), LoadOptions{Environ: environ}); f != nil || len(m) != 1 || m[0].Line != 1 {
		t.Errorf("a huge file: %+v", m)
	}
}

package plans

import (
	"slices"
	"strings"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/hosttest/toy"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/all"
	"github.com/emdecloud/ecdeploy/steps/firewall"
)

// findPlaced are the hosts of a site's steps in a stage, and of those that take away what
// was made there.
func findPlaced(t *testing.T, f *File, stage steps.Stage) (there, away []string) {
	t.Helper()
	bring, err := place(f, f.Sites[0])
	if err != nil {
		t.Fatal(err)
	}
	hosts := map[string]host.Observer{}
	for _, p := range bring {
		o := &sandbox{t: t, file: f, name: p.host}
		hosts[p.host] = o
		o.enter(steps.Entry{Kind: steps.EntryFile, Name: "/etc/made", Stage: stage, Step: "step"}, "x")
		if p.stage == stage {
			there = append(there, p.host)
		}
	}
	plan, err := MakeRemoval(t.Context(), f, f.Sites[0], hosts)
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range plan.Hosts {
		for _, st := range h.Steps {
			if st.Stage == stage && len(st.Changes) > 0 {
				away = append(away, h.Host)
			}
		}
	}
	return there, away
}

// A variant that is in no list but the one of this test is placed on the host that it
// names, is used, claims its names, and is taken away from there; without a change to
// anything else.
func TestVariantOutsideTheTree(t *testing.T) {
	list := append(all.Variants(), toy.Variant())
	text := strings.Replace(rightFile, "site \"x.test\"", "host \"b\" {\n  address = \"203.0.113.11\"\n}\nsite \"x.test\"", 1)
	text = strings.Replace(text, `proxy "nginx" { host = host.x }`, "proxy \"nginx\" { host = host.x }\n  proxy \"toy\" { host = host.b }", 1)
	text = strings.Replace(text, "sfu {\n    host = host.x", "sfu {\n    bind = \"10.0.0.2\"\n    host = host.b", 1)
	f, m := load("hosts.hcl", []byte(text), LoadOptions{Environ: environ, Variants: list})
	if f == nil || len(m) > 0 {
		t.Fatalf("%+v", m)
	}
	there, away := findPlaced(t, f, steps.StageProxy)
	if !slices.Equal(there, []string{"x", "b"}) || !slices.Equal(away, []string{"b", "x"}) {
		t.Errorf("it is placed on %v and taken away from %v", there, away)
	}
	if got := f.Sites[0].HostNames(); !slices.Equal(got, []string{"b", "x"}) {
		t.Errorf("the site's hosts are %v", got)
	}
	site := f.Sites[0].Context()
	if r := site.Served("b"); len(r) != 1 || r[0].Purpose != steps.Signalling {
		t.Errorf("the toy serves %+v", r)
	}
	second := "\nsite \"y.test\" {" + strings.SplitN(text, "site \"x.test\" {", 2)[1]
	second = strings.NewReplacer("jwt.x.test", "jwt.y.test", "/var/www/x.test", "/var/www/y.test").Replace(second)
	_, m = load("hosts.hcl", []byte(text+second), LoadOptions{Environ: environ, Variants: list})
	if !slices.ContainsFunc(m, func(m Mistake) bool { return strings.Contains(m.Summary, "belongs to the SFU of site") }) {
		t.Errorf("two sites have one public name behind the toy: %+v", m)
	}
	wrong := strings.Replace(text, "proxy \"toy\" { host = host.b }", "proxy \"toy\" {\n    host = host.b\n    folder = \"toy\"\n    fodler = 1\n  }", 1)
	_, m = load("hosts.hcl", []byte(wrong), LoadOptions{Environ: environ, Variants: list})
	if len(m) != 2 || m[0].Summary != "folder is not an absolute path on the host" || !strings.Contains(m[1].Detail, "did you mean folder?") {
		t.Errorf("its mistakes are %+v", m)
	}
}

// toyFirewall is a firewall that looks at what its block says.
type toyFirewall struct {
	firewall.None
	Zone string `hcl:"zone,optional"`
}

func (f *toyFirewall) Check(b steps.Block, _ steps.Decl, _ *steps.Site) {
	if f.Zone != "public" {
		b.Wrong("zone", "there is no zone "+f.Zone, `write zone = "public"`)
	}
}

// A block of a host is checked by its variant, as those of a site are.
func TestVariantOfHostChecks(t *testing.T) {
	toy := steps.Variant{Block: "firewall", Scope: steps.InHost, Label: "toy", Example: `firewall "toy" {}`,
		Config: func() steps.Config { return new(toyFirewall) }, Detect: steps.FindsNothing}
	text := strings.Replace(rightFile, "  address = ", "  firewall \"toy\" { zone = \"home\" }\n  address = ", 1)
	_, m := load("hosts.hcl", []byte(text), LoadOptions{Environ: environ, Variants: append(all.Variants(), toy)})
	if len(m) != 1 || m[0].Summary != "there is no zone home" {
		t.Errorf("its mistakes are %+v", m)
	}
}

// Each variant's example is one that works, alone in its block's place.
func TestExamplesOfVariants(t *testing.T) {
	for _, v := range all.Variants() {
		if v.Example == "" {
			continue
		}
		text := rightFile
		example := strings.ReplaceAll(v.Example, "host.NAME", "host.x")
		if v.Scope == steps.InHost {
			text = strings.Replace(text, "  address = ", "  "+example+"\n  address = ", 1)
		} else {
			f, m := load("hosts.hcl", []byte(text), LoadOptions{Environ: environ})
			if f == nil {
				t.Fatalf("%+v", m)
			}
			lines := strings.SplitAfter(text, "\n")
			for _, d := range f.Sites[0].Blocks {
				if d.Block == v.Block {
					end := d.Pos.Line
					for !strings.HasPrefix(strings.TrimSpace(lines[end-1]), "}") && !strings.HasSuffix(strings.TrimSpace(lines[end-1]), "}") {
						end++
					}
					text = strings.Join(lines[:d.Pos.Line-1], "") + "  " + example + "\n" + strings.Join(lines[end:], "")
				}
			}
		}
		f, m := load("hosts.hcl", []byte(text), LoadOptions{Environ: environ})
		if f == nil || m.HasErrors() {
			t.Errorf("%s %q: %+v\n%s", v.Block, v.Label, m, text)
		}
	}
}

package suite

import (
	"bytes"
	"context"
	"fmt"
	"io/fs"
	"reflect"
	"strings"
	"sync"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/credentials"
)

// Hostile is a host that answers whatever it likes, in the shapes that
// the host package lets through: one file for each path, one result for each
// command. Its answers are the parts of one text, in turn.
type Hostile struct {
	mu    sync.Mutex // a probe asks several things at once
	parts [][]byte
	N     int // which part comes next
}

func NewHostile(text []byte) *Hostile {
	return &Hostile{parts: bytes.Split(text, []byte("\n====\n"))}
}

func (*Hostile) Name() string { return "h" }

func (o *Hostile) next() []byte {
	o.N++
	return o.parts[o.N%len(o.parts)]
}

func (o *Hostile) Read(_ context.Context, paths ...string) ([]host.File, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []host.File
	for i, p := range paths {
		data := o.next()
		f := host.File{Path: p, Real: p, Exists: true, Mode: 0o644, Data: data}
		switch {
		case strings.ContainsAny(p, "*?[]"):
			word, _, _ := bytes.Cut(data, []byte("\n"))
			f.Path = strings.NewReplacer("*", string(word), "?", "x", "[", "", "]", "").Replace(p)
			f.Real = f.Path
			out = append(out, f)
			f.Path, f.Real = f.Path+"/../"+string(word), "/"+string(word)
		case i%7 == 3:
			f.Mode, f.Data, f.Names = fs.ModeDir|0o755, nil, strings.Split(string(data), "\n")
		case i%11 == 5:
			f.Real, f.Err = string(data), string(data)
		case i%13 == 7:
			f = host.File{Path: p, Real: string(data), Loose: string(data)}
		}
		out = append(out, f)
	}
	return out, nil
}

func (o *Hostile) Query(_ context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	var out []host.Result
	for range cmds {
		r := host.Result{Stdout: o.next(), Stderr: o.next()}
		if o.N%17 == 0 {
			r.Code = 1
		}
		out = append(out, r)
	}
	return out, nil
}

// StepsOf are the steps of a variant on the host h: alone, in a site that is spread over
// hosts, and where nothing is wanted any more.
func StepsOf(v steps.Variant) map[string]steps.Step {
	apart := OneHost()
	apart.Parts[1].Host, apart.Parts[0].Listens[0].Bind = "other", "198.51.100.7"
	out := map[string]steps.Step{}
	for where, s := range map[string]*steps.Site{"together": WithWellKnown(OneHost(), "/var/www/client"), "apart": apart} {
		c := Configured(v)
		d := steps.Decl{Site: s.Name, Host: "h"}
		d.Parts = c.Parts(d)
		for i, p := range c.Steps(d, s) {
			out[fmt.Sprintf("%s %s %s %d", v.Block, p.Step.Name(), where, i)] = p.Step
		}
	}
	if v.Effects != nil {
		out[v.Block+" of nothing"] = v.Effects.Step(&steps.Site{Name: "example.org"})
	}
	return out
}

// Configured is a variant's config with its defaults, on the host h, and with
// something for each attribute that has none.
func Configured(v steps.Variant) steps.Config {
	c := v.Config()
	fields := reflect.ValueOf(c).Elem()
	for i := range fields.NumField() {
		f := fields.Field(i)
		name, _, _ := strings.Cut(fields.Type().Field(i).Tag.Get("hcl"), ",")
		text, ok := map[string]string{"host": "h", "url": "https://matrix-rtc.example.org", "path": "/var/www/client"}[name]
		if ok && f.Kind() == reflect.String {
			f.SetString(text)
		}
	}
	return c
}

// DecideHostile probes, shares, decides and resolves on a host that answers whatever
// it likes: each ends, in a decision that can be shown or in an error.
func DecideHostile(t *testing.T, step steps.Step, o host.Observer) {
	t.Helper()
	found, err := step.Probe(t.Context(), o)
	if err != nil {
		return
	}
	shared := steps.Shared{Sources: map[string]string{}, HTTPS: map[string]string{}}
	found.Share(&shared)
	if src := shared.Sources["h"]; src != "" && strings.Trim(src, "0123456789abcdef.:") != "" || src == "0.0.0.0" || src == "::" {
		t.Errorf("shares the source %q", src)
	}
	for _, offer := range shared.Offers {
		if offer.Host != "h" || !livekit.PlainKey.MatchString(offer.Value.Reveal()) {
			t.Errorf("offers as %s what is no credential", offer.Ref)
		}
	}
	for _, keys := range []livekit.Keys{{}, Keys()} {
		shared.Secrets = credentials.Secrets(keys)
		d, err := found.Diff(shared)
		if err != nil {
			continue
		}
		for _, c := range d.Changes {
			b, err := steps.MarshalChange(c)
			if err != nil {
				t.Fatal(err)
			}
			if _, err := steps.UnmarshalChange(b); err != nil {
				t.Fatal(err)
			}
			c.Summary()
			_, _ = c.Resolve(t.Context(), steps.Env{Host: o, Run: "R", Secrets: credentials.Secrets(Keys())})
		}
	}
}

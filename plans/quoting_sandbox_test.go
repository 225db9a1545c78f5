package plans

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/auth"
	"github.com/emdecloud/ecdeploy/steps/credentials"
	"github.com/emdecloud/ecdeploy/steps/wellknown"
)

// sandbox is a host that answers as one that needs everything, and keeps what it
// is asked and given.
type sandbox struct {
	t     *testing.T
	file  *File
	name  string
	files map[string]string // besides those that any such host has
	route string            // what it says of its way to another
	// entries are what its ledger has, and containers are those that stand, by name; nil
	// for a host without Docker.
	entries    []steps.Entry
	containers map[string]string

	mu    sync.Mutex
	words []string // of argument lists, paths, contents of files
	texts []string // sh
}

func (s *sandbox) Name() string { return cmp.Or(s.name, "x") }

func (s *sandbox) Read(_ context.Context, paths ...string) ([]host.File, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []host.File
	for _, p := range paths {
		s.words = append(s.words, p)
		f := host.File{Path: p, Real: p}
		switch text := s.content(p); {
		case text != "":
			f.Exists, f.Mode, f.Data = true, 0o644, []byte(text)
		case strings.HasSuffix(p, "/*") && strings.HasPrefix(p, "/etc/nginx/sites-enabled"):
			f.Path, f.Pattern, f.Real = "/etc/nginx/sites-enabled/x", p, "/etc/nginx/sites-enabled/x"
			f.Exists, f.Mode, f.Data = true, 0o644, []byte("server {\n listen 443 ssl;\n server_name x.test;\n}\n")
		}
		out = append(out, f)
	}
	return out, nil
}

func (s *sandbox) content(p string) string {
	if text := s.files[p]; text != "" {
		return text
	}
	for _, d := range s.file.Sites[0].Blocks {
		switch c := d.Config.(type) {
		case *wellknown.File:
			if p == c.Path {
				return "{}"
			}
		case *auth.Config:
			if p == c.CAFile {
				return "-----"
			}
		}
	}
	switch p {
	case "/etc/nginx/nginx.conf":
		return "events {}\nhttp {\n include /etc/nginx/conf.d/*.conf;\n include /etc/nginx/sites-enabled/*;\n}\n"
	case "/etc/matrix-synapse/homeserver.yaml":
		return "server_name: " + s.file.Sites[0].ServerName + "\nlisteners:\n  - port: 8008\n    resources:\n      - names: [client]\n"
	}
	return ""
}

func (s *sandbox) Query(_ context.Context, cmds ...host.Cmd) ([]host.Result, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	out := make([]host.Result, len(cmds))
	for i, c := range cmds {
		s.words = append(s.words, c.Argv...)
		if c.Argv[0] == "sh" {
			s.texts = append(s.texts, c.Argv[2])
		}
		switch argv := strings.Join(c.Argv, " "); {
		case slices.Equal(c.Argv, steps.QueryLedger.Argv):
			out[i].Stdout = s.ledger()
		case s.containers != nil && strings.Contains(argv, "docker version"):
			out[i].Stdout = []byte("28.5.2\n")
		case strings.HasPrefix(argv, "docker container inspect") && s.containers[c.Argv[len(c.Argv)-1]] != "":
			out[i].Stdout = []byte(s.containers[c.Argv[len(c.Argv)-1]])
		case s.containers != nil && strings.HasPrefix(argv, "docker container inspect"):
			out[i].Code, out[i].Stderr = 1, []byte("Error response from daemon: No such container: x\n")
		case strings.HasPrefix(argv, "docker"), strings.Contains(argv, "is-active firewalld"):
			out[i].Code = 1
		case strings.HasPrefix(argv, "ufw status"):
			out[i].Stdout = []byte("Status: active\n")
		case strings.HasPrefix(argv, "nft -j"):
			out[i].Stdout = []byte(nftClosed)
		case strings.HasPrefix(argv, "systemctl show nftables"):
			out[i].Stdout = []byte("UnitFileState=enabled\n")
		case strings.Contains(argv, "systemctl show"):
			out[i].Stdout = []byte("LoadState=loaded\nActiveState=active\nUser=u\n" +
				"ExecStart={ argv[]=/p -m synapse.app.homeserver --config-path=/etc/matrix-synapse/homeserver.yaml ; }\n")
		case strings.HasPrefix(argv, "ip -o route"):
			out[i].Stdout = []byte(cmp.Or(s.route, "1 dev eth0 src 203.0.113.10\n"))
		case strings.HasPrefix(argv, "ip -o addr"):
			out[i].Stdout = []byte("2: eth0 inet 203.0.113.10/24\n")
		}
	}
	return out, nil
}

// ledger is the answer to steps.QueryLedger.
func (s *sandbox) ledger() []byte {
	out := "machine\tid-of-" + s.Name() + "\n"
	for _, e := range s.entries {
		b, err := json.Marshal(e)
		if err != nil {
			s.t.Fatal(err)
		}
		out += "entry\t" + e.Site + "/" + e.ID + "\t0\t" + string(b) + "\n"
	}
	return []byte(out)
}

// enter puts an entry of x.test into its ledger, with the text that a file has.
func (s *sandbox) enter(e steps.Entry, text string) {
	e.Site, e.ID, e.Format = "x.test", fmt.Sprintf("%s-%d", e.Kind, len(s.entries)), steps.LedgerFormat
	s.entries = append(s.entries, e)
	if s.files == nil {
		s.files = map[string]string{}
	}
	if e.Kind == steps.EntryFile {
		s.files[e.Name], s.files[e.Dir()+"/sum"] = text, steps.Digest([]byte(text), steps.Secrets{})
	}
}

// nftClosed is a ruleset of an admin's that lets nothing in.
const nftClosed = `{"nftables":[{"table":{"family":"inet","name":"filter"}},{"chain":{"family":"inet","table":"filter","name":"input","type":"filter","hook":"input","policy":"drop"}}]}`

// run probes, decides, resolves, and runs all sh that came of it, with programs
// that only write down what they are given.
func (s *sandbox) run(v string) {
	s.t.Helper()
	site := s.file.Sites[0]
	keys := livekit.Keys{Key: host.NewSecret("TheKey"), Secret: host.NewSecret(strings.Repeat("s", 40))}
	if site.Keys != nil && !site.Keys.Key.IsZero() {
		keys = livekit.Keys{Key: site.Keys.Key, Secret: site.Keys.Secret}
	}
	p, err := Make(s.t.Context(), s.file, site, map[string]host.Observer{"x": s}, func(credentials.Found) (livekit.Keys, error) { return keys, nil })
	if err != nil {
		s.t.Fatalf("%.60q: %v", v, err)
	}
	for _, st := range p.Hosts[0].Steps {
		b, err := json.Marshal(st.Checks)
		if err != nil {
			s.t.Fatal(err)
		}
		s.strings(b)
		for _, c := range st.Changes {
			s.change(c, keys)
		}
	}
	s.execute(v)
}

func (s *sandbox) change(c steps.Change, keys livekit.Keys) {
	s.t.Helper()
	b, err := steps.MarshalChange(c)
	if err != nil {
		s.t.Fatal(err)
	}
	s.strings(b)
	if i, ok := c.(*steps.Image); ok {
		s.words = append(s.words, i.Ref)
		return
	}
	r, err := c.Resolve(s.t.Context(), steps.Env{Host: s, Run: "R", Secrets: credentials.Secrets(keys)})
	if err != nil {
		s.t.Fatal(err)
	}
	for _, f := range r.Stage {
		s.words = append(s.words, string(f.Data))
	}
	s.texts = append(s.texts, r.Save, r.Do, r.Activate, r.Check, r.Undo)
}

// strings keeps all texts of a JSON value.
func (s *sandbox) strings(b []byte) {
	var v any
	if err := json.Unmarshal(b, &v); err != nil {
		s.t.Fatal(err)
	}
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case string:
			s.words = append(s.words, v)
		case []any:
			for _, e := range v {
				walk(e)
			}
		case map[string]any:
			for _, e := range v {
				walk(e)
			}
		}
	}
	walk(v)
}

// execute runs the texts in a folder of their own, each in a shell of its own.
func (s *sandbox) execute(v string) {
	s.t.Helper()
	dir := s.t.TempDir()
	var all strings.Builder
	all.WriteString("D=$PWD J=$PWD/none R=$PWD/none RUN=R\nPATH=\nw() { for a; do printf '%s\\n' \"$a\" >>\"$D/words\"; done; }\n")
	for _, f := range strings.Fields("ec_save ec_mkdir ec_place ec_remove ec_unchanged ec_sync ec_undo_files " +
		"ec_save_container ec_undo_container_ours ec_undo_container_old ec_undo_dirs ec_keep_ufw ec_undo_ufw ec_save_ufw " +
		"ec_save_nft ec_nft ec_nft_insert ec_undo_nft " +
		"ec_set_aside ec_save_unit ec_unit ec_undo_unit ec_took_effect ec_overlay_put ec_note ufw nft docker setpriv cp " +
		"chown chmod rm id mount unshare sh nginx systemctl getent ss pgrep ps grep sort awk df cat stat tail sed") {
		all.WriteString(f + "() { w " + f + " \"$@\"; }\n")
	}
	for _, text := range s.texts {
		if text != "" {
			all.WriteString("(\n" + strings.ReplaceAll(text, "/proc/sys/net", "/nowhere") + "\n) >/dev/null 2>&1 </dev/null\n")
		}
	}
	cmd := exec.Command("/bin/sh", "-c", all.String())
	cmd.Dir = dir
	_ = cmd.Run() // nothing that it calls answers
	b, err := os.ReadFile(dir + "/words")
	if err != nil {
		s.t.Fatal(err)
	}
	s.words = append(s.words, string(b))
	left, err := os.ReadDir(dir)
	if err != nil || len(left) != 1 {
		s.t.Errorf("%.60q was run: it made %v (%v)", v, left, err)
	}
}

// arrived reports whether v stands somewhere as it is. Spaces around numbers are
// none of it, and a URL may have another scheme.
func (s *sandbox) arrived(v string) bool {
	if strings.Trim(v, "0123456789.- ") == "" {
		v = strings.TrimSpace(v)
	}
	for _, w := range s.words {
		if strings.Contains(w, v) || strings.Contains(w, strings.TrimPrefix(v, "https://")) {
			return true
		}
	}
	return false
}

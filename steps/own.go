package steps

import (
	"context"
	"fmt"
	"io/fs"
	"regexp"
	"strings"

	"github.com/aymanbagabas/go-udiff"
	"golang.org/x/sync/errgroup"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Look reads files and runs queries in one flight.
func Look(
	ctx context.Context,
	o host.Observer,
	paths []string,
	cmds ...host.Cmd,
) (files map[string]host.File, all []host.File, results []host.Result, err error) {
	g, ctx := errgroup.WithContext(ctx)
	if len(paths) > 0 {
		g.Go(func() (err error) { all, err = o.Read(ctx, paths...); return err })
	}
	if len(cmds) > 0 {
		g.Go(func() (err error) { results, err = o.Query(ctx, cmds...); return err })
	}
	if err := g.Wait(); err != nil {
		return nil, nil, nil, err
	}
	files = make(map[string]host.File, len(all))
	for _, f := range all {
		files[f.Path] = f
	}
	return files, all, results, nil
}

// LooseLink says why a file behind a symlink is not edited: who can turn the
// symlink elsewhere would choose what root writes to.
func LooseLink(link string) error {
	return fmt.Errorf("the symlink %s could be turned elsewhere by others than root; let it and its folder belong to root", link)
}

// OwnFile is the edit that makes a file of our own say text; needed is false
// where it does already.
func OwnFile(path string, f host.File, text Text, mode fs.FileMode, gid int, secrets Secrets) (e FileEdit, needed bool) {
	e = FileEdit{Path: path, Text: text, Own: true, Mode: mode, GID: gid}
	old := ""
	if f.Exists {
		e.Before, old = Digest(f.Data, Secrets{}), string(f.Data)
		if text.HasSecret() {
			e.Before = secretDigest(path, f.Data, secrets)
		}
	}
	want, err := text.Fill(secrets)
	if err == nil && f.Exists && old == string(want) && f.Mode.Perm() == mode.Perm() && f.UID == 0 && f.GID == gid {
		return e, false
	}
	if !text.HasSecret() {
		e.After = Digest(want, Secrets{})
	}
	if text.HasSecret() && len(old) <= maxOwn {
		old = hideUnknown(secrets.mask(old), text.Masked())
	}
	e.Diff = OwnDiff(path, old, text.Masked(), 3)
	return e, true
}

// maxOwn is the most of a file of our own that is shown, in bytes. Those that we
// write have some hundred.
const maxOwn = 64 << 10

// OwnDiff is the diff of a file of our own, whatever stands in it now.
func OwnDiff(path, before, after string, context int) string {
	if len(before) > maxOwn {
		return fmt.Sprintf("--- %s\n+++ %s\n- %d KiB, too much to be shown\n", path, path, len(before)>>10)
	}
	return unified(path, before, after, context)
}

// hideUnknown leaves of a file that held secrets only what is known not to be one:
// lines that the new text has too, and values of keys that it has.
func hideUnknown(old, masked string) string {
	lines, keys := map[string]bool{}, map[string]bool{}
	key := func(line string) string {
		k, _, ok := strings.Cut(line, ": ")
		if !ok || strings.Contains(k, "***") {
			return ""
		}
		return k
	}
	for line := range strings.Lines(masked) {
		lines[line] = true
		keys[key(line)] = true
	}
	var b strings.Builder
	for line := range strings.Lines(old) {
		if k := key(line); lines[line] || k != "" && keys[k] && !strings.Contains(strings.ToLower(k), "key") {
			b.WriteString(line)
			continue
		}
		b.WriteString("*** (a line that may hold a secret)\n")
	}
	return b.String()
}

// unified is a diff with that many lines of context; values of keys that look
// like secrets are masked in it.
func unified(path, before, after string, context int) string {
	d, err := udiff.ToUnified(path, path, before, udiff.Lines(before, after), context)
	if err != nil {
		return ""
	}
	return maskSecrets(d)
}

// secretKey finds lines whose key says that the value is a secret, in YAML,
// JSON and assignments; secretWord does in nginx, where white space parts them
// and a value may go on in the next line; secretAuth finds such a next line;
// secretURL finds a password in a URL or DSN.
const secretName = `[\w-]*(?:secret|passw(?:or)?d|passphrase|token|credential|authorization|pepper)[\w-]*|[\w-]*(?:_|api|-)key|[\w-]*_pass|dsn`

var (
	secretKey  = regexp.MustCompile(`(?im)((?:` + secretName + `)["']?[ \t]*[:=][ \t]*)(\S.*)$`)
	secretWord = regexp.MustCompile(`(?im)(?:` + secretName + `)["']?[ \t]+(?:\S.*;|["']).*$`)
	secretAuth = regexp.MustCompile(`(?im)(["'](?:bearer|basic)[ \t]+)\S.*$`)
	secretURL  = regexp.MustCompile(`(\w+://[^\s:/@]*:)\S+@`)
)

func maskSecrets(s string) string {
	s = secretKey.ReplaceAllString(s, "${1}***")
	s = maskWords(s)
	s = secretAuth.ReplaceAllString(s, "${1}***")
	return secretURL.ReplaceAllString(s, "${1}***@")
}

// maskWords masks what follows a secret's name in nginx. The path of a
// certificate's key and an upstream (proxy_pass) are no secrets; what comes
// behind them may be one.
func maskWords(s string) string {
	return secretWord.ReplaceAllStringFunc(s, func(m string) string {
		name, value, _ := strings.Cut(strings.ReplaceAll(m, "\t", " "), " ")
		if strings.HasSuffix(name, "certificate_key") || strings.HasSuffix(name, "_pass") {
			harmless, rest, _ := strings.Cut(value, ";")
			return name + " " + harmless + ";" + maskWords(rest)
		}
		return name + " ***"
	})
}

// SiteDirs are the folders that hold a component's files; the last one can be
// entered by the group gid.
func SiteDirs(site *Site, component string, gid int) []Dir {
	return []Dir{
		{Path: "/etc/ecdeploy", Mode: 0o755},
		{Path: site.Dir(), Mode: 0o755},
		{Path: site.Dir() + "/" + component, Mode: 0o750, GID: gid},
	}
}

// MissingDirs leaves out the folders that are there as they should be.
func MissingDirs(dirs []Dir, files map[string]host.File) []Dir {
	var out []Dir
	for _, d := range dirs {
		if f := files[d.Path]; !f.Exists || f.Mode.Perm() != d.Mode.Perm() || f.UID != 0 || f.GID != d.GID {
			out = append(out, d)
		}
	}
	return out
}

package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"unicode"

	"github.com/kevinburke/ssh_config"

	"github.com/emdecloud/ecdeploy/internal/hint"
)

// sshSettings are what ssh_config files say, the person's own before the
// machine's.
type sshSettings []*ssh_config.Config

// loadSSHSettings reads path alone, or OpenSSH's usual files where path is "".
// A file that is not there is fine, unless it was named.
func loadSSHSettings(path string) (sshSettings, error) {
	files := []string{path}
	if path == "" {
		files = []string{expandHome("~/.ssh/config"), "/etc/ssh/ssh_config"}
	}
	var out sshSettings
	for _, name := range files {
		b, err := os.ReadFile(name)
		if path == "" && errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read the SSH configuration: %w", err)
		}
		c, err := ssh_config.DecodeBytes(b)
		if err != nil {
			if strings.Contains(strings.ToLower(err.Error()), "match") {
				return nil, hint.Wrap(fmt.Errorf("%s: %w", name, err),
					"of Match only `all` and `host` are supported; use a Host block, or name another file with --ssh-config")
			}
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		out = append(out, c)
	}
	return out, nil
}

// get is the first value that a file has for alias; "" where none has.
func (s sshSettings) get(alias, key string) (string, error) {
	all, err := s.all(alias, key)
	if err != nil || len(all) == 0 {
		return "", err
	}
	return all[0], nil
}

func (s sshSettings) all(alias, key string) ([]string, error) {
	var out []string
	for _, c := range s {
		v, err := c.GetAll(alias, key)
		if err != nil {
			return nil, fmt.Errorf("ssh_config, %s of %s: %w", key, alias, err)
		}
		for _, one := range v {
			out = append(out, strings.Trim(one, `"`))
		}
	}
	return out, nil
}

// hop is one machine on the way, everything decided.
type hop struct {
	alias        string // as it was named
	host         string
	port         int
	user         string
	identities   []string // private key files, in the order to try
	certificates []string // of keys, besides the FILE-cert.pub of each identity
	named        bool     // the identities were named by somebody: missing ones are errors or worth a word
	only         bool     // no keys of the agent but these
	agent        string   // the agent's socket; "" for none
	knownHosts   []string
	keyAlias     string // the name to look for in known_hosts; "" for host
	jump         string
}

func (h hop) addr() string { return netJoin(h.host, h.port) }

func (h hop) String() string { return h.user + "@" + h.addr() }

// resolve makes a hop of an alias; what is given by hand wins.
func (s sshSettings) resolve(alias, username string, port int, identity string) (hop, error) {
	h := hop{alias: alias, user: username, port: port}
	var firstErr error
	get := func(key string) string {
		v, err := s.get(alias, key)
		firstErr = errors.Join(firstErr, err)
		return v
	}
	h.host = strings.ReplaceAll(get("HostName"), "%h", alias)
	if h.host == "" {
		h.host = alias
	}
	if h.user == "" {
		h.user = get("User")
	}
	if h.user == "" {
		me, err := user.Current()
		if err != nil {
			return hop{}, fmt.Errorf("find out who I am: %w", err)
		}
		h.user = me.Username
	}
	if v := get("Port"); h.port == 0 && v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > 65535 {
			return hop{}, fmt.Errorf("ssh_config: Port %q of %s is no port", v, alias)
		}
		h.port = n
	}
	if h.port == 0 {
		h.port = 22
	}
	h.jump = get("ProxyJump")
	if v := get("ProxyCommand"); v != "" && !strings.EqualFold(v, "none") && h.jump == "" {
		return hop{}, hint.Wrap(fmt.Errorf("ssh_config: ProxyCommand of %s is not supported", alias),
			"use ProxyJump, or jump in the plan file's host block")
	}
	h.keyAlias = get("HostKeyAlias")
	h.only = strings.EqualFold(get("IdentitiesOnly"), "yes")
	h.agent = os.Getenv("SSH_AUTH_SOCK")
	switch v := get("IdentityAgent"); {
	case strings.EqualFold(v, "none"):
		h.agent = ""
	case v != "" && v != "SSH_AUTH_SOCK":
		h.agent = h.expand(strings.TrimPrefix(v, "$"))
	}
	for _, f := range strings.Fields(get("UserKnownHostsFile")) {
		h.knownHosts = append(h.knownHosts, h.expand(f))
	}
	for _, f := range strings.Fields(get("GlobalKnownHostsFile")) {
		h.knownHosts = append(h.knownHosts, h.expand(f))
	}
	certs, err := s.all(alias, "CertificateFile")
	firstErr = errors.Join(firstErr, err)
	for _, f := range certs {
		if !strings.EqualFold(f, "none") {
			h.certificates = append(h.certificates, h.expand(f))
		}
	}
	ids, err := s.all(alias, "IdentityFile")
	if err = errors.Join(firstErr, err); err != nil {
		return hop{}, err
	}
	if identity != "" {
		ids = append([]string{identity}, ids...)
	}
	h.named = len(ids) > 0
	if !h.named {
		ids = []string{"~/.ssh/id_ed25519", "~/.ssh/id_ecdsa", "~/.ssh/id_rsa"}
	}
	for _, f := range ids {
		if !strings.EqualFold(f, "none") {
			h.identities = append(h.identities, h.expand(f))
		}
	}
	return h, nil
}

// expand replaces ~ and the tokens that ssh_config(5) allows in file names.
func (h hop) expand(p string) string {
	home := expandHome("~")
	p = strings.NewReplacer("%%", "%", "%d", home, "%h", h.host, "%n", h.alias, "%r", h.user, "%p", strconv.Itoa(h.port)).Replace(p)
	return expandHome(p)
}

func expandHome(p string) string {
	if p != "~" && !strings.HasPrefix(p, "~/") {
		return p
	}
	home, err := os.UserHomeDir()
	if err != nil {
		return p
	}
	return filepath.Join(home, p[1:])
}

// CheckJump says what is wrong with a list of jumps, such as Target's.
func CheckJump(list string) error {
	if list == "" || strings.EqualFold(list, "none") {
		return nil
	}
	for text := range strings.SplitSeq(list, ",") {
		username, name, _, err := parseJump(text)
		if err != nil {
			return err
		}
		if strings.HasPrefix(name, "-") || strings.HasPrefix(username, "-") ||
			strings.ContainsFunc(username+name, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) || r == '/' }) {
			return fmt.Errorf("jump %q names no host", text)
		}
	}
	return nil
}

// parseJump reads one element of a ProxyJump list: [user@]host[:port], or
// ssh://[user@]host[:port].
func parseJump(text string) (username, name string, port int, err error) {
	rest := strings.TrimPrefix(strings.TrimSpace(text), "ssh://")
	if i := strings.LastIndex(rest, "@"); i >= 0 {
		username, rest = rest[:i], rest[i+1:]
	}
	name = rest
	bare := !strings.HasPrefix(rest, "[") && strings.Count(rest, ":") > 1 // an IPv6 address
	if i := strings.LastIndex(rest, ":"); i > strings.LastIndex(rest, "]") && !bare {
		if port, err = strconv.Atoi(rest[i+1:]); err != nil || port < 1 || port > 65535 {
			return "", "", 0, fmt.Errorf("jump %q: %q is no port", text, rest[i+1:])
		}
		name = rest[:i]
	}
	name = strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
	if name == "" {
		return "", "", 0, fmt.Errorf("jump %q names no host", text)
	}
	return username, name, port, nil
}

package host

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"unicode"

	"github.com/skeema/knownhosts"
	"golang.org/x/crypto/ssh"
	xknownhosts "golang.org/x/crypto/ssh/knownhosts"

	"github.com/emdecloud/ecdeploy/internal/hint"
)

// hostKeys checks the keys of machines against known_hosts files.
type hostKeys struct {
	files     []string // from the options; nil: as each hop says
	acceptNew bool
	note      func(string) // tells of a key that was accepted
	mu        sync.Mutex   // for the files
}

func (k *hostKeys) filesFor(h hop) []string {
	switch {
	case len(k.files) > 0:
		return k.files
	case len(h.knownHosts) > 0:
		return h.knownHosts
	}
	return []string{expandHome("~/.ssh/known_hosts"), expandHome("~/.ssh/known_hosts2"), "/etc/ssh/ssh_known_hosts"}
}

// config is what a client needs: how to judge a key, and which kinds of keys to
// ask for, so that the server shows one that the files have.
func (k *hostKeys) config(h hop) (ssh.HostKeyCallback, []string, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	files := k.filesFor(h)
	db, original, err := readKnownHosts(files)
	if err != nil {
		return nil, nil, err
	}
	name := h.addr()
	if h.keyAlias != "" {
		name = netJoin(h.keyAlias, 22)
	}
	judge := db.HostKeyCallback()
	callback := func(_ string, remote net.Addr, key ssh.PublicKey) error {
		err := judge(name, remote, key)
		switch {
		case err == nil:
			return nil
		case knownhosts.IsHostUnknown(err) && k.acceptNew:
			err = k.accept(files[0], name, h, key)
		case knownhosts.IsHostUnknown(err):
			err = unknownKey(files, name, h, key)
		default:
			err = refusedKey(err, original, name, h, key)
		}
		if err != nil {
			err = keyError{err}
		}
		return err
	}
	algorithms := db.HostKeyAlgorithms(name)
	if len(algorithms) == 0 { // unknown: the kind of key that people compare by default
		algorithms = append([]string{ssh.KeyAlgoED25519}, slices.DeleteFunc(ssh.SupportedAlgorithms().HostKeys,
			func(a string) bool { return a == ssh.KeyAlgoED25519 })...)
	}
	return callback, algorithms, nil
}

// keyError says why a host key is not taken, in words of ours.
type keyError struct{ error }

// refusedKey explains what speaks against a key.
func refusedKey(err error, original map[string]string, name string, h hop, key ssh.PublicKey) error {
	if changed, ok := errors.AsType[*xknownhosts.KeyError](err); ok {
		return changedKey(changed.Want, original, name, h, key)
	}
	if _, ok := errors.AsType[*xknownhosts.RevokedError](err); ok {
		return fmt.Errorf("the host key of %s is marked @revoked in known_hosts: %s", h.addr(), ssh.FingerprintSHA256(key))
	}
	return remoteError{err} // a certificate's own words may be in it
}

// readKnownHosts reads those of files that are there. The library gives up on a
// file with one line that it does not know, as a newer OpenSSH writes them;
// OpenSSH passes over such a line, so the library gets a copy without them.
// original has the names of the files by those that the library knows.
func readKnownHosts(files []string) (db *knownhosts.HostKeyDB, original map[string]string, err error) {
	original = map[string]string{}
	var read []string
	for _, file := range files {
		b, err := os.ReadFile(file)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, nil, fmt.Errorf("known_hosts: %w", err)
		}
		copied, err := copyKnown(b)
		defer os.Remove(copied)
		if err != nil {
			return nil, nil, fmt.Errorf("known_hosts: %w", err)
		}
		read = append(read, copied)
		original[copied] = file
	}
	if db, err = knownhosts.NewDB(read...); err != nil {
		return nil, nil, fmt.Errorf("known_hosts: %w", err)
	}
	return db, original, nil
}

// copyKnown writes the lines that can be understood, each with its number, to a
// new file and returns its name.
func copyKnown(b []byte) (string, error) {
	lines := bytes.SplitAfter(b, []byte("\n"))
	for i, line := range lines {
		if _, _, _, _, _, err := ssh.ParseKnownHosts(line); err != nil {
			lines[i] = []byte("\n")
		}
	}
	f, err := os.CreateTemp("", "ecdeploy-known-hosts-")
	if err != nil {
		return "", err
	}
	if err := f.Close(); err != nil {
		return f.Name(), err
	}
	write := func(lines ...[]byte) bool {
		err = os.WriteFile(f.Name(), bytes.Join(lines, nil), 0o600)
		_, unknown := xknownhosts.New(f.Name())
		return unknown == nil
	}
	// That says nothing of the names, which the library reads when it reads a
	// file, and gives up on, too.
	if !write(lines...) {
		for i, line := range lines {
			if !write(line) {
				lines[i] = []byte("\n")
			}
		}
		write(lines...)
	}
	return f.Name(), err
}

func unknownKey(files []string, name string, h hop, key ssh.PublicKey) error {
	err := fmt.Errorf("the host key of %s is not known yet\n  it shows %s %s\n  no entry for %s in %s",
		h.addr(), key.Type(), ssh.FingerprintSHA256(key), xknownhosts.Normalize(name), strings.Join(files, ", "))
	return hint.Wrapf(err, "compare the fingerprint with what the machine's console or provider says "+
		"(ssh-keygen -lf /etc/ssh/ssh_host_%s_key.pub), then run again with --accept-new", shortType(key.Type()))
}

func changedKey(want []xknownhosts.KnownKey, original map[string]string, name string, h hop, key ssh.PublicKey) error {
	var b strings.Builder
	fmt.Fprintf(&b,
		"the host key of %s is not the one that is known: either the machine was reinstalled, or someone is intercepting the connection\n  it shows %s %s",
		h.addr(), key.Type(), ssh.FingerprintSHA256(key))
	for _, w := range want {
		fmt.Fprintf(&b, "\n  known is %s %s (%s:%d)", w.Key.Type(), ssh.FingerprintSHA256(w.Key), original[w.Filename], w.Line)
	}
	return hint.Wrapf(errors.New(b.String()), "if the new key is right, remove the old one: ssh-keygen -f %s -R '%s'",
		original[want[0].Filename], xknownhosts.Normalize(name))
}

func shortType(t string) string {
	switch {
	case strings.Contains(t, "ed25519"):
		return "ed25519"
	case strings.Contains(t, "ecdsa"):
		return "ecdsa"
	}
	return "rsa"
}

// accept adds the key of a machine that no file knows.
func (k *hostKeys) accept(file, name string, h hop, key ssh.PublicKey) error {
	if strings.ContainsFunc(name, func(r rune) bool {
		return unicode.IsSpace(r) || unicode.IsControl(r) || strings.ContainsRune(",*?!|#@", r)
	}) {
		return fmt.Errorf("keep the new host key: %q cannot stand in known_hosts", name)
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	if err := os.MkdirAll(filepath.Dir(file), 0o700); err != nil {
		return fmt.Errorf("keep the new host key: %w", err)
	}
	f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return fmt.Errorf("keep the new host key: %w", err)
	}
	defer f.Close()
	line := xknownhosts.Line([]string{xknownhosts.Normalize(name)}, key) + "\n"
	last := make([]byte, 1)
	if st, err := f.Stat(); err == nil && st.Size() > 0 {
		if _, err := f.ReadAt(last, st.Size()-1); err == nil && last[0] != '\n' {
			line = "\n" + line
		}
	}
	if _, err := f.WriteString(line); err != nil {
		return fmt.Errorf("keep the new host key: %w", err)
	}
	k.note(fmt.Sprintf("%s: accepted its host key %s %s and added it to %s", h.addr(), key.Type(), ssh.FingerprintSHA256(key), file))
	return nil
}

func netJoin(host string, port int) string { return net.JoinHostPort(host, strconv.Itoa(port)) }

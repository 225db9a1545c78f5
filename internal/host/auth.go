package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"slices"
	"strings"

	"golang.org/x/crypto/ssh"
	"golang.org/x/crypto/ssh/agent"

	"github.com/emdecloud/ecdeploy/internal/hint"
)

// authMethods are the ways to log in to a hop, in the order of trying: the keys
// that were named, the agent's other keys, then what only a person can answer.
// close ends the connection to the agent.
func authMethods(
	ctx context.Context,
	h hop,
	ask func(context.Context, string) (Secret, error),
) (methods []ssh.AuthMethod, offered *[]string, closeAgent func(), err error) {
	offered = &[]string{}
	closeAgent = func() {}
	var held []ssh.Signer
	if h.agent != "" {
		if conn, err := (&net.Dialer{}).DialContext(ctx, "unix", h.agent); err == nil {
			closeAgent = func() { _ = conn.Close() }
			if held, err = agent.NewClient(conn).Signers(); err != nil {
				*offered = append(*offered, fmt.Sprintf("the agent at %s answers: %v", h.agent, err))
			}
		} else {
			*offered = append(*offered, fmt.Sprintf("no agent answers at %s", h.agent))
		}
	}
	signers, err := keySigners(ctx, h, held, ask, offered)
	if err != nil {
		closeAgent()
		return nil, nil, nil, err
	}
	if len(signers) > 0 {
		methods = append(methods, ssh.PublicKeys(signers...))
	}
	if ask != nil {
		methods = append(methods,
			ssh.KeyboardInteractive(func(name, instruction string, questions []string, _ []bool) ([]string, error) {
				answers := make([]string, len(questions))
				for i, q := range questions {
					a, err := ask(ctx, h.String()+": "+Clean(q))
					if err != nil {
						return nil, err
					}
					answers[i] = a.Reveal()
				}
				return answers, nil
			}),
			ssh.PasswordCallback(func() (string, error) {
				a, err := ask(ctx, h.String()+"'s password: ")
				return a.Reveal(), err
			}))
	}
	return methods, offered, closeAgent, nil
}

// keySigners orders the keys. A key file whose public half the agent holds is
// used through the agent, so that nobody is asked for its pass phrase.
func keySigners(ctx context.Context, h hop, held []ssh.Signer, ask func(context.Context, string) (Secret, error), offered *[]string) ([]ssh.Signer, error) {
	var out []ssh.Signer
	seen := map[string]bool{}
	add := func(s ssh.Signer, from string) {
		if id := string(s.PublicKey().Marshal()); !seen[id] {
			seen[id] = true
			out = append(out, s)
			*offered = append(*offered, fmt.Sprintf("%s %s (%s)", s.PublicKey().Type(), ssh.FingerprintSHA256(s.PublicKey()), from))
		}
	}
	for _, file := range h.identities {
		signer, err := fileSigner(ctx, file, held, ask)
		if errors.Is(err, fs.ErrNotExist) {
			if h.named {
				*offered = append(*offered, "no key at "+file)
			}
			continue
		}
		if err != nil {
			if !h.named {
				*offered = append(*offered, err.Error())
				continue
			}
			return nil, err
		}
		if c, err := certSigner(file, signer); err != nil {
			return nil, err
		} else if c != nil {
			add(c, file+"-cert.pub")
		}
		add(signer, file)
	}
	if !h.only {
		for _, s := range held {
			add(s, "agent")
		}
	}
	return withCertificates(h, out, held, offered)
}

// withCertificates puts the certificates that ssh_config names (CertificateFile)
// before the keys; each belongs to one of them or to one that the agent holds.
func withCertificates(h hop, keys, held []ssh.Signer, offered *[]string) ([]ssh.Signer, error) {
	var out []ssh.Signer
	for _, file := range h.certificates {
		cert, err := readCertificate(file)
		if err != nil {
			return nil, err
		}
		all := slices.Concat(keys, held)
		i := slices.IndexFunc(all, func(s ssh.Signer) bool {
			return cert != nil && string(s.PublicKey().Marshal()) == string(cert.Key.Marshal())
		})
		if i < 0 {
			*offered = append(*offered, "no certificate at "+file+", or no key for it")
			continue
		}
		s, err := ssh.NewCertSigner(cert, all[i])
		if err != nil {
			return nil, fmt.Errorf("certificate %s: %w", file, err)
		}
		out = append(out, s)
		*offered = append(*offered, fmt.Sprintf("%s %s (%s)", s.PublicKey().Type(), ssh.FingerprintSHA256(cert.Key), file))
	}
	return append(out, keys...), nil
}

func fileSigner(ctx context.Context, file string, held []ssh.Signer, ask func(context.Context, string) (Secret, error)) (ssh.Signer, error) {
	if b, err := os.ReadFile(file + ".pub"); err == nil {
		if pub, _, _, _, err := ssh.ParseAuthorizedKey(b); err == nil {
			if i := slices.IndexFunc(held, func(s ssh.Signer) bool { return string(s.PublicKey().Marshal()) == string(pub.Marshal()) }); i >= 0 {
				return held[i], nil
			}
		}
	}
	pem, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("read the key: %w", err)
	}
	signer, err := ssh.ParsePrivateKey(pem)
	if _, locked := errors.AsType[*ssh.PassphraseMissingError](err); !locked {
		if err != nil {
			return nil, fmt.Errorf("key %s: %w", file, err)
		}
		return signer, nil
	}
	if ask == nil {
		return nil, hint.Wrapf(fmt.Errorf("key %s has a pass phrase, and there is no terminal to ask for it", file), "ssh-add %s", file)
	}
	for range 3 {
		phrase, err := ask(ctx, "pass phrase of "+file+": ")
		if err != nil {
			return nil, err
		}
		if signer, err = ssh.ParsePrivateKeyWithPassphrase(pem, []byte(phrase.Reveal())); err == nil {
			return signer, nil
		}
	}
	return nil, fmt.Errorf("key %s: the pass phrase is wrong", file)
}

// certSigner is the signer of FILE-cert.pub; nil where there is none.
func certSigner(file string, signer ssh.Signer) (ssh.Signer, error) {
	file += "-cert.pub"
	cert, err := readCertificate(file)
	if cert == nil || err != nil {
		return nil, err
	}
	s, err := ssh.NewCertSigner(cert, signer)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", file, err)
	}
	return s, nil
}

// readCertificate is the certificate in a file; nil where there is no file.
func readCertificate(file string) (*ssh.Certificate, error) {
	b, err := os.ReadFile(file)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("read the certificate: %w", err)
	}
	pub, _, _, _, err := ssh.ParseAuthorizedKey(b)
	if err != nil {
		return nil, fmt.Errorf("certificate %s: %w", file, err)
	}
	cert, ok := pub.(*ssh.Certificate)
	if !ok {
		return nil, fmt.Errorf("%s holds no certificate", file)
	}
	return cert, nil
}

// authFailed says what was offered, where the server took none of it.
func authFailed(h hop, offered []string, asked bool, err error) error {
	if key, ok := errors.AsType[keyError](err); ok {
		return key.error
	}
	if !strings.Contains(err.Error(), "unable to authenticate") {
		return remoteError{err}
	}
	text := fmt.Sprintf("%s does not let %s in", h.addr(), h.user)
	if len(offered) == 0 {
		text += "; no key was offered"
	}
	for _, o := range offered {
		text += "\n  offered: " + o
	}
	advice := "set user or identity in the host block, or in ~/.ssh/config"
	if !asked {
		advice += "; without a terminal no password can be asked for"
	}
	return hint.New(text, advice)
}

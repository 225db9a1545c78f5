package nginx

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// certificate is a certificate file on a host.
type certificate struct {
	path     string
	problem  string
	names    *x509.Certificate
	notAfter time.Time
}

// readCertificate reads the first certificate of a PEM file.
func readCertificate(f host.File) certificate {
	c := certificate{path: f.Path}
	if f.Err != "" {
		c.problem = f.Err
		return c
	}
	block, rest := pem.Decode(f.Data)
	for block != nil && block.Type != "CERTIFICATE" { // a key may come first
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		c.problem = "it holds no PEM certificate"
		return c
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		c.problem = err.Error()
		return c
	}
	c.names, c.notAfter = leaf, leaf.NotAfter
	return c
}

func (c certificate) covers(name string) bool {
	return c.names != nil && c.names.VerifyHostname(name) == nil
}

// soon is how long before its end a certificate should have been renewed.
const soon = 7 * 24 * time.Hour

// judge says what is wrong with a certificate for a public name.
func (w *nginxWriter) judge(c certificate, name, renew string) bool {
	switch {
	case c.problem != "":
		w.fail("certificate "+c.path+": "+c.problem, renew)
	case !c.covers(name):
		w.fail(fmt.Sprintf("certificate %s does not cover %s (it covers %s)", c.path, name, strings.Join(c.names.DNSNames, ", ")), renew)
	case c.notAfter.Before(w.facts.now):
		w.fail(fmt.Sprintf("certificate %s for %s expired on %s", c.path, name, c.notAfter.Format(time.DateOnly)), renew)
	default:
		if c.notAfter.Before(w.facts.now.Add(soon)) {
			w.findings = append(w.findings, steps.Warning.Finding(fmt.Sprintf("certificate %s for %s ends on %s", c.path, name, c.notAfter.Format(time.DateOnly)),
				"certbot renew"))
		}
		return true
	}
	return false
}

// certificate finds the certificate for a public name: the plan file's, else
// the one that our own server block has, else the one of certbot's that covers
// it longest. Which one that is changes with every renewal.
func (w *nginxWriter) certificate(name string) (cert, key string, ok bool) {
	certbot := "certbot certonly --nginx -d " + name
	if p := w.cfg.Certificate; p != "" {
		switch f := w.facts.own[p]; {
		case !f.Exists:
			w.fail("certificate "+p+" is not on "+w.facts.name, certbot)
		case !w.judge(readCertificate(f), name, certbot):
		case !w.facts.keys[w.cfg.Key]:
			w.fail("key "+w.cfg.Key+" is not on "+w.facts.name, "correct key in proxy \"nginx\" {}")
		default:
			return p, w.cfg.Key, true
		}
		return "", "", false
	}
	var best certificate
	kept := w.ownBlock(name).certificate
	for _, c := range w.facts.certs {
		if !c.covers(name) || !w.facts.keys[keyOf(c)] {
			continue
		}
		if c.path == kept && c.notAfter.After(w.facts.now.Add(soon)) {
			best = c
			break
		}
		if c.notAfter.After(best.notAfter) {
			best = c
		}
	}
	if best.path == "" {
		w.fail("no certificate for "+name+" on "+w.facts.name, certbot+", or name one with certificate and key in proxy \"nginx\" {}")
		return "", "", false
	}
	return best.path, keyOf(best), w.judge(best, name, certbot)
}

// keyOf is where certbot keeps a certificate's key.
func keyOf(c certificate) string { return path.Dir(c.path) + "/privkey.pem" }

// ownBlock is the server block of our own for a public name, as an earlier run
// wrote it.
type ownBlock struct {
	there       bool
	certificate string
}

func (w *nginxWriter) ownBlock(name string) ownBlock {
	for _, p := range w.ownFiles() {
		parsed, err := splice.ParseNginx(w.facts.own[p].Data)
		if err != nil {
			continue // it is written anew
		}
		for _, s := range splice.ServerBlocks(parsed) {
			if !slices.Contains(s.Names, name) {
				continue
			}
			b := ownBlock{there: true}
			for _, d := range s.Directive.Body {
				if d.Name == "ssl_certificate" && len(d.Args) == 1 {
					b.certificate = d.Args[0]
				}
			}
			return b
		}
	}
	return ownBlock{}
}

// blockCertificates are the certificates, not read yet, of the server blocks
// that answer for the names now.
func (f *facts) blockCertificates(names []string) []string {
	var out []string
	for _, name := range names {
		for _, win := range f.tree.winners(name) {
			for _, p := range win.server.certificates() {
				if !f.own[p].Exists && !slices.Contains(out, p) {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

package steps

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"path"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
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
	block, _ := pem.Decode(f.Data)
	if block == nil || block.Type != "CERTIFICATE" {
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

// certificate finds the certificate for a public name: the plan file's, else
// one of certbot's that covers it.
func (w *nginxWriter) certificate(name string) (cert, key string, ok bool) {
	certbot := "certbot certonly --nginx -d " + name
	if p := w.cfg.Certificate; p != "" {
		var c certificate
		for _, known := range w.facts.certs {
			if known.path == p {
				c = known
			}
		}
		if c.path == "" {
			c = readCertificate(w.facts.own[p])
		}
		switch {
		case !w.facts.own[p].Exists:
			w.fail("certificate "+p+" is not on "+w.facts.name, certbot)
		case c.problem != "":
			w.fail("certificate "+p+": "+c.problem, certbot)
		case !c.covers(name):
			w.fail(fmt.Sprintf("certificate %s does not cover %s (it covers %s)", p, name, strings.Join(c.names.DNSNames, ", ")), certbot)
		case !w.facts.keys[w.cfg.Key]:
			w.fail("key "+w.cfg.Key+" is not on "+w.facts.name, "correct key in proxy \"nginx\" {}")
		default:
			return p, w.cfg.Key, true
		}
		return "", "", false
	}
	for _, c := range w.facts.certs {
		key := path.Dir(c.path) + "/privkey.pem"
		if c.covers(name) && w.facts.keys[key] {
			return c.path, key, true
		}
	}
	w.fail("no certificate for "+name+" on "+w.facts.name, certbot+", or name one with certificate and key in proxy \"nginx\" {}")
	return "", "", false
}

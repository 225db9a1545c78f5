package proxy

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// Soon is how long before its end a certificate should have been renewed.
const Soon = 7 * 24 * time.Hour

// Certificate is a certificate file on a host.
type Certificate struct {
	Path     string
	Problem  string // why it cannot be read; "" where it can
	NotAfter time.Time
	leaf     *x509.Certificate
}

// ReadCertificate reads the first certificate of a PEM file.
func ReadCertificate(f host.File) Certificate {
	c := Certificate{Path: f.Path}
	if f.Err != "" {
		c.Problem = f.Err
		return c
	}
	block, rest := pem.Decode(f.Data)
	for block != nil && block.Type != "CERTIFICATE" { // a key may come first
		block, rest = pem.Decode(rest)
	}
	if block == nil {
		c.Problem = "it holds no PEM certificate"
		return c
	}
	leaf, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		c.Problem = err.Error()
		return c
	}
	c.leaf, c.NotAfter = leaf, leaf.NotAfter
	return c
}

// Covers reports whether the certificate is for name.
func (c Certificate) Covers(name string) bool {
	return c.leaf != nil && c.leaf.VerifyHostname(name) == nil
}

// Judge says what is wrong with a certificate for a public name at a time. renew is the
// command that gets a better one. ok is false where the certificate cannot be used.
func (c Certificate) Judge(name, renew string, now time.Time) (findings []steps.Finding, ok bool) {
	end := c.NotAfter.Format(time.DateOnly)
	wrong := ""
	switch {
	case c.Problem != "":
		wrong = fmt.Sprintf("certificate %s: %s", c.Path, c.Problem)
	case !c.Covers(name):
		wrong = fmt.Sprintf("certificate %s does not cover %s (it covers %s)", c.Path, name, strings.Join(c.leaf.DNSNames, ", "))
	case c.NotAfter.Before(now):
		wrong = fmt.Sprintf("certificate %s for %s expired on %s", c.Path, name, end)
	case c.NotAfter.Before(now.Add(Soon)):
		return []steps.Finding{steps.Warning.Finding(fmt.Sprintf("certificate %s for %s ends on %s", c.Path, name, end), "renew it: certbot renew, where it is certbot's")}, true
	default:
		return nil, true
	}
	return []steps.Finding{steps.Error.Finding(wrong, renew)}, false
}

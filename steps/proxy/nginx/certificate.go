package nginx

import (
	"path"
	"slices"

	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps/proxy"
)

// judge says what is wrong with a certificate for a public name.
func (w *nginxWriter) judge(c proxy.Certificate, name, renew string) bool {
	findings, ok := c.Judge(name, renew, w.facts.now)
	w.findings = append(w.findings, findings...)
	return ok
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
		case !w.judge(proxy.ReadCertificate(f), name, certbot):
		case !w.facts.keys[w.cfg.Key]:
			w.fail("key "+w.cfg.Key+" is not on "+w.facts.name, "correct key in proxy \"nginx\" {}")
		default:
			return p, w.cfg.Key, true
		}
		return "", "", false
	}
	var best proxy.Certificate
	kept := w.ownBlock(name).certificate
	for _, c := range w.facts.certs {
		if !c.Covers(name) || !w.facts.keys[keyOf(c)] {
			continue
		}
		if c.Path == kept && c.NotAfter.After(w.facts.now.Add(proxy.Soon)) {
			best = c
			break
		}
		if c.NotAfter.After(best.NotAfter) {
			best = c
		}
	}
	if best.Path == "" {
		w.fail("no certificate for "+name+" on "+w.facts.name, certbot+", or name one with certificate and key in proxy \"nginx\" {}")
		return "", "", false
	}
	return best.Path, keyOf(best), w.judge(best, name, certbot)
}

// keyOf is where certbot keeps a certificate's key.
func keyOf(c proxy.Certificate) string { return path.Dir(c.Path) + "/privkey.pem" }

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
			continue // it is rewritten
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
		for _, picked := range f.tree.pickServers(name) {
			for _, p := range picked.server.certificates() {
				if !f.own[p].Exists && !slices.Contains(out, p) {
					out = append(out, p)
				}
			}
		}
	}
	return out
}

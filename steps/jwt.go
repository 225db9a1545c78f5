package steps

import (
	"context"
	"fmt"
	"net"
	"strconv"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/internal/netaddr"
)

type authFacts struct {
	name      string
	files     map[string]host.File
	image     imageFacts
	container containerFacts
	arch      string
}

// JWTService runs a site's MatrixRTC authorization service.
func JWTService(site Site) Step {
	c := site.Auth
	dir := site.Dir() + "/auth"
	key, secret := dir+"/key", dir+"/secret"
	probe := func(ctx context.Context, o host.Observer) (authFacts, error) {
		files, _, res, err := look(ctx, o, []string{"/etc/ecdeploy", site.Dir(), dir, key, secret, orSelf(c.CAFile, dir)},
			queryImage(c.Image), queryContainer(c.Container), queryArch)
		if err != nil {
			return authFacts{}, err
		}
		f := authFacts{name: o.Name(), files: files, arch: parseArch(res[2])}
		if f.image, err = parseImage(res[0]); err != nil {
			return f, err
		}
		f.container, err = parseContainer(res[1])
		return f, err
	}
	share := func(f authFacts, s *Shared) {
		s.Offers = append(s.Offers, authOffers(f.name, f.files[key], f.files[secret])...)
		if p := authPair(f.files[key], f.files[secret]); !p.IsZero() {
			Put(s, keysIssued, f.name, p)
		}
	}
	diff := func(f authFacts, s Shared) (Decision, error) {
		d := Decision{Findings: f.container.foreign(site, c.Container)}
		switch ca := f.files[c.CAFile]; {
		case c.CAFile == "":
		case !ca.Exists:
			d.Findings = append(d.Findings, Finding{Error, "ca_file " + c.CAFile + " is not on the host", "auth.ca_file is a path on the host, such as /etc/ssl/certs/ca-certificates.crt"})
		case ca.Mode.Perm()&0o004 == 0 && !(ca.GID == c.UID && ca.Mode.Perm()&0o040 != 0):
			d.Findings = append(d.Findings, Finding{Error, fmt.Sprintf("ca_file %s cannot be read by the JWT service, which runs as user %d", c.CAFile, c.UID), "chmod 0644 " + c.CAFile})
		}
		images, more := planImage(c.Image, site.AuthFile, f.arch, f.image)
		d.Changes, d.Findings = images, append(d.Findings, more...)

		texts := []Text{{{Ref: livekit.RefKey}, {Lit: "\n"}}, {{Ref: livekit.RefSecret}, {Lit: "\n"}}}
		change := Container{Site: site.Name, Spec: authSpec(site, dir), Config: texts, Replaces: f.container.ID,
			Dirs: missingDirs(siteDirs(site, "auth", c.UID), f.files)}
		for i, p := range []string{key, secret} {
			if e, needed := ownFile(p, f.files[p], texts[i], 0o640, c.UID, s.Secrets); needed {
				change.Edits = append(change.Edits, e)
			}
		}
		held := authPair(f.files[key], f.files[secret])
		change.planReplace(f.container, f.image, images, whyKeys(livekit.Keys{Key: held.Key, Secret: held.Secret}, livekit.KeysByRef(s.Secrets.Values)), s.Secrets)
		if f.container.Running {
			change.Interrupt = "the JWT service restarts: joins fail for about a second"
		}
		if len(change.Why) > 0 {
			d.Changes = append(d.Changes, &change)
		}
		d.Checks = authChecks(c)
		return d, nil
	}
	return Define("jwt-service", probe, share, diff)
}

// authSpec is the container (environment as in element-hq/lk-jwt-service's
// README). It shares the host's network: then it resolves and reaches names as
// the host does, and listens on loopback alone.
func authSpec(site Site, dir string) host.ContainerSpec {
	c := site.Auth
	spec := host.ContainerSpec{
		Name: c.Container, Image: c.Image,
		Env: map[string]string{
			"LIVEKIT_URL":                     site.LiveKitURL(),
			"LIVEKIT_KEY_FROM_FILE":           "/config/key",
			"LIVEKIT_SECRET_FROM_FILE":        "/config/secret",
			"LIVEKIT_JWT_BIND":                authAddr(c),
			"LIVEKIT_FULL_ACCESS_HOMESERVERS": strings.Join(c.FullAccess, ","),
		},
		User: fmt.Sprintf("%d:%d", c.UID, c.UID), Restart: "always", StopTimeout: 5 * time.Second,
		Mounts: []host.Mount{{Source: dir, Target: "/config"}},
	}
	if c.CAFile != "" {
		spec.Env["SSL_CERT_FILE"] = "/ca.pem"
		spec.Mounts = append(spec.Mounts, host.Mount{Source: c.CAFile, Target: "/ca.pem"})
	}
	return spec
}

func authAddr(c Auth) string { return net.JoinHostPort(c.Bind, strconv.Itoa(c.Port)) }

func authChecks(c Auth) []Check {
	base := "http://" + net.JoinHostPort(netaddr.Dialable(c.Bind), strconv.Itoa(c.Port))
	logs := "docker:" + c.Container
	return []Check{
		{Name: "the JWT service is up", HTTP: &HTTPCheck{URL: base + "/healthz", Status: 200}, Timeout: 30 * time.Second, Logs: logs, Hint: "docker logs " + c.Container},
		{Name: "the JWT service serves /sfu/get", HTTP: &HTTPCheck{URL: base + "/sfu/get", Status: 405}, Timeout: 10 * time.Second, Logs: logs, Hint: "docker logs " + c.Container},
		{Name: "the JWT service keeps running", Container: &ContainerCheck{Name: c.Container, Steady: 2 * time.Second}, Timeout: 20 * time.Second, Logs: logs, Hint: "docker logs " + c.Container},
	}
}

func orSelf(s, other string) string {
	if s == "" {
		return other
	}
	return s
}

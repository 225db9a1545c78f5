package steps

import (
	"fmt"
	"net/netip"
	"net/url"
	"regexp"
	"slices"
	"strings"
)

// This file checks the kinds of values that blocks of several variants hold.

// MaxName is the longest name that a file, a container or a host may have, in
// bytes, with room for what is put behind it.
const MaxName = 200

// SampleURL is how one writes the public URL of a service.
const SampleURL = `url = "https://matrix-rtc.example.org"`

var (
	serverName = regexp.MustCompile(`^([A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?(\.[A-Za-z0-9]([A-Za-z0-9-]*[A-Za-z0-9])?)*|\[[0-9a-fA-F:.]+\])(:[0-9]{1,5})?$`)
	// containerName is what Docker's engine takes.
	containerName = regexp.MustCompile(`^[a-zA-Z0-9][a-zA-Z0-9_.-]+$`)
	unitName      = regexp.MustCompile(`^[A-Za-z0-9:_.@\\][A-Za-z0-9:_.@\\-]*\.service$`)
	urlHost       = regexp.MustCompile(`^(?i)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	urlPrefix     = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)
	// imageRef is NAME[:TAG][@sha256:DIGEST] (distribution/reference).
	imageRef = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9.-]*(?::[0-9]+)?(?:/[a-z0-9._/-]+)*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$`)
	// fixedTag is a tag that names one build: three numbers, or a commit.
	fixedTag = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+|^(sha-|commit-)?[0-9a-f]{7,40}$|^[0-9]{8}`)
)

// serviceEndpoints are paths of the services themselves, which people copy along.
var serviceEndpoints = []string{"/sfu/get", "/get_token", "/healthz", "/sfu_webhook", "/rtc/validate"}

// IsServerName reports whether name is a Matrix server name: a name or an IP
// address, and perhaps a port (spec.matrix.org, appendices, "Server name").
func IsServerName(name string) bool { return len(name) <= MaxName && serverName.MatchString(name) }

// CheckPublicURL checks url, the public URL of a service: https://name[/prefix].
// prefix is an example of a path.
func CheckPublicURL(b Block, text, prefix string, proxy Part) {
	if !b.Given("url") || !b.Known("url") {
		return
	}
	wrong := func(what, fix string) { b.Wrong("url", what, fix) }
	scheme, rest, ok := strings.Cut(text, "://")
	u, err := url.Parse(text)
	switch {
	case !ok || err != nil || strings.ContainsAny(text, " \t\r\n$\"'\\;{}"):
		wrong("url is no URL", "write https:// and the public name, like "+SampleURL)
		return
	case scheme == "http" || scheme == "ws":
		wrong(scheme+":// is not encrypted, and clients refuse it", "write https://"+rest)
		return
	case scheme == "wss":
		wrong("url begins with wss://", "write https://"+rest+"; clients are told wss:// where they need it")
		return
	case scheme != "https":
		wrong(fmt.Sprintf("url begins with %s://", scheme), "write https://")
		return
	case u.User != nil || strings.ContainsAny(text, "?#@"):
		wrong("url holds more than a name and a path", "write https://"+u.Host+strings.TrimRight(u.Path, "/"))
		return
	case strings.HasSuffix(text, "/"):
		wrong("url ends in a slash", "write "+strings.TrimRight(text, "/"))
		return
	case !urlHost.MatchString(u.Hostname()) || tooLong(u.Hostname()):
		wrong("url has no public name", "write a name that DNS knows, like "+SampleURL)
		return
	}
	for _, e := range serviceEndpoints {
		if base, ok := strings.CutSuffix(text, e); ok {
			wrong("url ends in "+e+", a path of the service itself", "write "+base)
			return
		}
	}
	if !urlPrefix.MatchString(u.Path) || strings.Contains(u.Path, "/.") {
		wrong("url has a path that cannot be a prefix", "write a path of letters, digits, dots, - and _, like "+prefix)
	}
	if p := u.Port(); p != "" && p != "443" && proxy.Proxy != nil && !proxy.Proxy.Foreign {
		wrong("url holds port "+p+", and "+proxy.Name+" is set up for 443 only", `remove the port, or write proxy "external" {}`)
	}
}

// tooLong reports whether DNS could not know a name (RFC 1035).
func tooLong(name string) bool {
	return len(name) > 253 || slices.ContainsFunc(strings.Split(name, "."), func(label string) bool { return len(label) > 63 })
}

// CheckBaseURL checks url, where a homeserver's client-server API is.
func CheckBaseURL(b Block, text string) {
	if !b.Given("url") || !b.Known("url") {
		return
	}
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		b.Wrong("url", "url is no URL", `write the base URL of Synapse, like url = "https://matrix.example.org"`)
	case strings.HasSuffix(text, "/"):
		b.Wrong("url", "url ends in a slash", "write "+strings.TrimRight(text, "/"))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Path, "/_matrix"):
		b.Wrong("url", "url is not the base URL", "write "+u.Scheme+"://"+u.Host)
	}
}

// ImageRef is an image reference in its pieces: NAME[:TAG][@DIGEST].
type ImageRef struct{ Name, Tag, Digest string }

// ParseImageRef reads an image reference; false where it is not one.
func ParseImageRef(ref string) (ImageRef, bool) {
	m := imageRef.FindStringSubmatch(ref)
	if m == nil || len(ref) > MaxName {
		return ImageRef{}, false
	}
	return ImageRef{m[1], m[2], m[3]}, true
}

// CheckImage checks image; sample is a reference as one should be.
func CheckImage(b Block, ref, archive, sample string) {
	if !b.Given("image") || !b.Known("image") {
		return
	}
	r, ok := ParseImageRef(ref)
	pin := "name one version, like " + sample
	switch {
	case !ok:
		b.Wrong("image", "image is no image reference", "write NAME:TAG or NAME@sha256:..., like "+sample)
	case r.Digest != "" || archive != "" || b.Given("archive"):
	case r.Tag == "":
		b.Doubtful("image", "image has no tag, which means latest: it changes without your doing", pin)
	case !fixedTag.MatchString(r.Tag):
		b.Doubtful("image", fmt.Sprintf("the tag %q moves: it changes without your doing", r.Tag), pin)
	}
}

// CheckContainer checks container, the name of one.
func CheckContainer(b Block, name string) {
	if b.Given("container") && b.Known("container") && (!containerName.MatchString(name) || len(name) > MaxName) {
		b.Wrong("container", fmt.Sprintf("%q is no name for a container", name), "use letters, digits, dots, - and _")
	}
}

// CheckUID checks uid, the user in a container.
func CheckUID(b Block, uid int) {
	if !b.Given("uid") || !b.Known("uid") {
		return
	}
	switch {
	case uid == 0:
		b.Wrong("uid", "uid 0 is root", "write a number that no user of the host has, or remove the line")
	case uid < 0 || uid > 1<<31-2:
		b.Wrong("uid", fmt.Sprintf("%d is no user number", uid), "write a number from 1 to 2147483646, or remove the line")
	}
}

// CheckIP checks an attribute that is an IP address.
func CheckIP(b Block, attr, value string) {
	if !b.Given(attr) || !b.Known(attr) {
		return
	}
	if a, err := netip.ParseAddr(value); err != nil || a.Zone() != "" {
		b.Wrong(attr, attr+" is no IP address", "write an address like 203.0.113.10, not a name")
	}
}

// CheckPort checks an attribute that is a port, from least on.
func CheckPort(b Block, attr string, port, least int) {
	switch {
	case !b.Given(attr) || !b.Known(attr):
	case port < 1 || port > 65535:
		b.Wrong(attr, fmt.Sprintf("%s %d is not a port", attr, port), fmt.Sprintf("write a number from %d to 65535", least))
	case port < least:
		b.Wrong(attr, fmt.Sprintf("%s %d needs root, and containers run without", attr, port), fmt.Sprintf("write a number from %d to 65535", least))
	}
}

// CheckUnit checks unit, the name of a systemd service.
func CheckUnit(b Block, unit, sample string) {
	if b.Known("unit") && (!unitName.MatchString(unit) || len(unit) > MaxName) {
		b.Wrong("unit", fmt.Sprintf("%q is no systemd service", unit), fmt.Sprintf("write its whole name, like %q", sample))
	}
}

// CheckHostPath checks an attribute that is an absolute path on a host, which
// nginx, YAML and a shell can hold.
func CheckHostPath(b Block, attr, path string) {
	if !b.Given(attr) || !b.Known(attr) {
		return
	}
	switch {
	case !strings.HasPrefix(path, "/"):
		b.Wrong(attr, attr+" is not an absolute path on the host", "write it from the root on, like /etc/ssl/...")
	case strings.Contains(path, "$"):
		b.Wrong(attr, attr+" holds a $, which configuration files take for a variable", "move the file to a path without one")
	case strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f }):
		b.Wrong(attr, attr+" holds a line end or another control character", "move the file to a path without one")
	case strings.ContainsAny(path, "\"'\\;{}*?[]"):
		b.Wrong(attr, attr+" holds a character that configuration files or a shell take for their own", "move the file to a path of letters, digits, dots, - and _")
	}
}

// CheckCertificate checks certificate and key, paths on a host that belong
// together.
func CheckCertificate(b Block, certificate, key string) {
	CheckHostPath(b, "certificate", certificate)
	CheckHostPath(b, "key", key)
	if b.Given("certificate") == b.Given("key") {
		return
	}
	have, lack := "certificate", "key"
	if b.Given("key") {
		have, lack = lack, have
	}
	b.Wrong(have, have+" is there and "+lack+" is not", "give both, or neither")
}

// CheckServes checks that a proxy has something to serve.
func CheckServes(b Block, d Decl, s *Site) {
	if !b.Given("host") || !b.Known("host") || d.Host == "" || s.undecided() {
		return
	}
	for _, p := range s.Parts {
		if slices.ContainsFunc(p.Routes, func(r Route) bool { return r.Upstream != "" }) && s.Front(p.Host) == d.Host {
			return
		}
	}
	b.Doubtful("host", fmt.Sprintf("the proxy on %s has nothing to serve for this site", d.Host), "remove the block")
}

// undecided reports whether a part's host is a mistake or not known yet.
func (s *Site) undecided() bool {
	return slices.ContainsFunc(s.Parts, func(p Part) bool { return len(p.Routes) > 0 && p.Host == "" })
}

// LocalPath is a path on the laptop. The plan file may write it from its own folder
// on, or from ~.
type LocalPath string

package plans

import (
	"fmt"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/hashicorp/hcl/v2"
	"golang.org/x/mod/semver"

	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

var (
	urlHost   = regexp.MustCompile(`^(?i)[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$`)
	urlPrefix = regexp.MustCompile(`^(/[A-Za-z0-9._~-]+)*$`)
	// endpoints are paths of the services themselves, which people copy along.
	endpoints = []string{"/sfu/get", "/get_token", "/healthz", "/sfu_webhook", "/rtc/validate"}
)

// checkURL checks the public URL of the SFU or the JWT service.
func (l *loader) checkURL(n *node, text string, s Site) {
	if !n.has("url") || !n.known("url") {
		return
	}
	at := n.at("url")
	scheme, rest, ok := strings.Cut(text, "://")
	u, err := url.Parse(text)
	switch {
	case !ok || err != nil || strings.ContainsAny(text, " \t\r\n$\"'\\;{}"):
		l.fail(at, "url is no URL", "write https:// and the public name, like "+samples["url"])
		return
	case scheme == "http" || scheme == "ws":
		l.fail(at, scheme+":// is not encrypted, and clients refuse it", "write https://"+rest)
		return
	case scheme == "wss":
		l.fail(at, "url begins with wss://", "write https://"+rest+"; clients are told wss:// where they need it")
		return
	case scheme != "https":
		l.fail(at, fmt.Sprintf("url begins with %s://", scheme), "write https://")
		return
	case u.User != nil || strings.ContainsAny(text, "?#@"):
		l.fail(at, "url holds more than a name and a path", "write https://"+u.Host+strings.TrimRight(u.Path, "/"))
		return
	case strings.HasSuffix(text, "/"):
		l.fail(at, "url ends in a slash", "write "+strings.TrimRight(text, "/"))
		return
	case !urlHost.MatchString(u.Hostname()) || tooLong(u.Hostname()):
		l.fail(at, "url has no public name", "write a name that DNS knows, like "+samples["url"])
		return
	}
	for _, e := range endpoints {
		if base, ok := strings.CutSuffix(text, e); ok {
			l.fail(at, "url ends in "+e+", a path of the service itself", "write "+base)
			return
		}
	}
	if !urlPrefix.MatchString(u.Path) || strings.Contains(u.Path, "/.") {
		l.fail(at, "url has a path that cannot be a prefix", "write a path of letters, digits, dots, - and _, like /livekit/"+map[string]string{"sfu": "sfu", "auth": "jwt"}[n.kind])
	}
	if p := u.Port(); p != "" && p != "443" && s.nginxFronts(n.kind) {
		l.fail(at, "url holds port "+p+", and nginx is set up for 443 only", `remove the port, or write proxy "external" {}`)
	}
}

// maxName is the longest name that a file, a container or a host may have, with
// room for what is put behind it.
const maxName = 200

// tooLong reports whether DNS could not know a name (RFC 1035).
func tooLong(name string) bool {
	return len(name) > 253 || slices.ContainsFunc(strings.Split(name, "."), func(label string) bool { return len(label) > 63 })
}

// nginxFronts reports whether an nginx of ours serves the component.
func (s Site) nginxFronts(component string) bool {
	on := s.SFU.Host
	if component == "auth" {
		on = s.Auth.Host
	}
	return s.proxyOn(s.front(on)).Label == "nginx"
}

// checkBaseURL checks where a Synapse's client-server API is.
func (l *loader) checkBaseURL(at hcl.Range, text string) {
	u, err := url.Parse(text)
	switch {
	case err != nil || u.Scheme != "https" && u.Scheme != "http" || u.Host == "":
		l.fail(at, "url is no URL", `write the base URL of Synapse, like url = "https://matrix.example.org"`)
	case strings.HasSuffix(text, "/"):
		l.fail(at, "url ends in a slash", "write "+strings.TrimRight(text, "/"))
	case u.User != nil || u.RawQuery != "" || u.Fragment != "" || strings.Contains(u.Path, "/_matrix"):
		l.fail(at, "url is not the base URL", "write "+u.Scheme+"://"+u.Host)
	}
}

// imageRef is NAME[:TAG][@sha256:DIGEST] (distribution/reference).
var imageRef = regexp.MustCompile(`^([a-zA-Z0-9][a-zA-Z0-9.-]*(?::[0-9]+)?(?:/[a-z0-9._/-]+)*)(?::([A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?:@(sha256:[0-9a-f]{64}))?$`)

// fixedTag is a tag that names one build: three numbers, or a commit.
var fixedTag = regexp.MustCompile(`^v?[0-9]+\.[0-9]+\.[0-9]+|^(sha-|commit-)?[0-9a-f]{7,40}$|^[0-9]{8}`)

// fixedIn is the first version of the JWT service without GHSA-rq24-fh66-rq7x.
const fixedIn = "v0.8.0"

func (l *loader) checkImage(n *node, ref, archive string) {
	if !n.has("image") || !n.known("image") {
		return
	}
	at := n.at("image")
	m := imageRef.FindStringSubmatch(ref)
	if m == nil || len(ref) > maxName {
		l.fail(at, "image is no image reference", "write NAME:TAG or NAME@sha256:..., like "+steps.DefaultSFUImage)
		return
	}
	name, tag, digest := m[1], m[2], m[3]
	version := "v" + strings.TrimPrefix(tag, "v")
	if n.kind == "auth" && strings.HasSuffix(name, "lk-jwt-service") && semver.IsValid(version) && semver.Compare(version, fixedIn) < 0 {
		l.fail(at, fmt.Sprintf("the JWT service %s has a hole: it does not check whose token it is given (GHSA-rq24-fh66-rq7x)", tag), "write "+steps.DefaultAuthImage+"; 0.8.0 is the first without it")
		return
	}
	if digest != "" || archive != "" || n.has("archive") {
		return
	}
	pin := "name one version, like " + map[string]string{"sfu": steps.DefaultSFUImage, "auth": steps.DefaultAuthImage}[n.kind]
	switch {
	case tag == "":
		l.warn(at, "image has no tag, which means latest: it changes without your doing", pin)
	case !fixedTag.MatchString(tag):
		l.warn(at, fmt.Sprintf("the tag %q moves: it changes without your doing", tag), pin)
	}
}

// least is the shortest secret that counts as one, in characters.
const least = 32

func (l *loader) checkKeys(n *node, k steps.LiveKitKeys) {
	pair := n.has("key") || n.has("secret")
	switch {
	case n.has("command") && pair:
		l.fail(n.given["command"].name, "command is there beside key or secret", "keep command, or key and secret")
	case n.has("command"):
		if n.known("command") && (len(k.Command) == 0 || k.Command[0] == "") {
			l.fail(n.at("command"), "command is empty", `write command = ["pass", "show", "livekit"], say; it prints "KEY: SECRET"`)
		}
	case !n.has("key") || !n.has("secret"):
		l.fail(n.def, "livekit_keys {} wants key and secret, or command", "add what is missing, or remove the block: ecdeploy then makes the credentials")
	}
	if n.has("key") && n.known("key") {
		if wrong, mend := wrongKey(k.Key); wrong != "" {
			l.fail(n.given["key"].name, wrong, mend)
		}
	}
	if !n.has("secret") || !n.known("secret") {
		return
	}
	at := n.given["secret"].name
	if wrong, mend := wrongSecret(k.Secret); wrong != "" {
		l.fail(at, wrong, mend)
	} else if n.given["secret"].literal {
		l.warn(at, "the secret stands in the plan file", "write secret = env(\"NAME\") or file(\"PATH\"), or use command")
	}
}

// wrongKey says what is wrong with a LIVEKIT_KEY and how to mend it, without
// the key; "" for nothing.
func wrongKey(key string) (wrong, mend string) {
	switch {
	case key == "devkey":
		return "devkey is the key of LiveKit's development mode, which everybody knows", "remove livekit_keys {}: ecdeploy then makes good credentials"
	case key == "":
		return "key is empty", "write letters and digits"
	case !livekit.PlainKey.MatchString(key):
		return "key " + notPlain, "use letters and digits"
	}
	return "", ""
}

// wrongSecret does for a LIVEKIT_SECRET.
func wrongSecret(secret string) (wrong, mend string) {
	switch {
	case len(secret) < least:
		return fmt.Sprintf("secret is shorter than %d characters", least), "remove livekit_keys {}: ecdeploy then makes good credentials; or `openssl rand -hex 32`"
	case !livekit.PlainKey.MatchString(secret):
		return "secret " + notPlain, "use letters and digits, like `openssl rand -hex 32` prints them"
	}
	return "", ""
}

const notPlain = "must begin with a letter or a digit and hold nothing else but those and . _ ~ + / = -"

var portRange = regexp.MustCompile(`^([0-9]{1,5})-([0-9]{1,5})$`)

// udpRange reads "first-last".
func udpRange(s string) (first, last int, ok bool) {
	m := portRange.FindStringSubmatch(s)
	if m == nil {
		return 0, 0, false
	}
	first, _ = strconv.Atoi(m[1]) // digits, as matched
	last, _ = strconv.Atoi(m[2])
	return first, last, first >= 1024 && first <= 65535 && last >= 1024 && last <= 65535
}

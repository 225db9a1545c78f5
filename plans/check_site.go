package plans

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/steps"
)

func (l *loader) checkServerName(n *node) {
	switch {
	case n.label == "": // said already, or an empty label
		if n.name != n.def {
			l.fail(n.name, "the server name is empty", `write site "example.org" {`)
		}
	case strings.Contains(n.label, "://"):
		l.fail(n.name, "the site's label is a URL", "write the Matrix server name alone, what stands behind the colon in @user:example.org")
	case !steps.IsServerName(n.label):
		l.fail(n.name, fmt.Sprintf("%q is no Matrix server name", n.label), "write what stands behind the colon in @user:example.org")
	}
}

func (l *loader) checkVerify(n *node, v Verify) {
	if n.hasAttr("level") && n.known("level") && !slices.Contains([]string{"media", "http", "none"}, v.Level) {
		l.fail(n.at("level"), fmt.Sprintf("there is no level %q", v.Level), `write level = "media", "http" or "none"`)
	}
	if n.hasAttr("strict") && n.known("strict", "level") && v.Strict && v.Level != "media" {
		l.fail(n.at("strict"), fmt.Sprintf("strict is about media, and level is %q", v.Level), `write level = "media", or remove the line`)
	}
	if n.hasAttr("from") && n.known("from") {
		for _, name := range v.From {
			if !l.knownHost(name, n.at("from")) {
				break
			}
		}
	}
	t := n.child("access_token")
	if t != nil && (len(t.given) != 1 || t.hasAttr("command") && t.known("command") && len(v.AccessToken.Command) == 0) {
		l.fail(t.def, "access_token {} needs exactly one source", `write one of env = "NAME", file = "...", command = ["...", "..."]`)
	}
}

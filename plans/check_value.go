package plans

import (
	"fmt"

	"github.com/emdecloud/ecdeploy/internal/livekit"
)

// least is the shortest secret that counts as one, in characters.
const least = 32

func (l *loader) checkKeys(n *node, k LiveKitKeys) {
	pair := n.hasAttr("key") || n.hasAttr("secret")
	switch {
	case n.hasAttr("command") && pair:
		l.fail(n.given["command"].name, "command is there in addition to key or secret", "keep command, or key and secret")
	case n.hasAttr("command"):
		if n.known("command") && (len(k.Command) == 0 || k.Command[0] == "") {
			l.fail(n.at("command"), "command is empty", `write command = ["pass", "show", "livekit"], say; it prints "KEY: SECRET"`)
		}
	case !n.hasAttr("key") || !n.hasAttr("secret"):
		l.fail(n.def, "livekit_keys {} wants key and secret, or command", "add what is missing, or remove the block: ecdeploy then makes the credentials")
	}
	if n.hasAttr("key") && n.known("key") {
		if wrong, fix := wrongKey(k.Key.Reveal()); wrong != "" {
			l.fail(n.given["key"].name, wrong, fix)
		}
	}
	if !n.hasAttr("secret") || !n.known("secret") {
		return
	}
	at := n.given["secret"].name
	if wrong, fix := wrongSecret(k.Secret.Reveal()); wrong != "" {
		l.fail(at, wrong, fix)
	} else if n.given["secret"].literal {
		l.warn(at, "the secret stands in the plan file", "write secret = env(\"NAME\") or file(\"PATH\"), or use command")
	}
}

// wrongKey says what is wrong with a LIVEKIT_KEY and how to fix it, without
// the key; "" for nothing.
func wrongKey(key string) (wrong, fix string) {
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
func wrongSecret(secret string) (wrong, fix string) {
	switch {
	case len(secret) < least:
		return fmt.Sprintf("secret is shorter than %d characters", least), "remove livekit_keys {}: ecdeploy then makes good credentials; or `openssl rand -hex 32`"
	case !livekit.PlainKey.MatchString(secret):
		return "secret " + notPlain, "use letters and digits, like `openssl rand -hex 32` prints them"
	}
	return "", ""
}

const notPlain = "must begin with a letter or a digit and hold nothing else but those and . _ ~ + / = -"

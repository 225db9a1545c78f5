package plans

import (
	"fmt"
	"regexp"
	"strings"
	"time"
	"unicode"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/steps"
)

// defaultConnectTimeout bounds each connection of the chain to a host.
const defaultConnectTimeout = 15 * time.Second

// hostBlock is a host block as it is written.
type hostBlock struct {
	Address        string        `hcl:"address"` // a name, an address or an alias of ~/.ssh/config
	User           string        `hcl:"user,optional"`
	Port           int           `hcl:"port,optional"`
	Identity       string        `hcl:"identity,optional"` // path of a private key on the laptop
	Jump           string        `hcl:"jump,optional"`
	Become         string        `hcl:"become,optional"`          // "none" or "sudo"
	ConnectTimeout string        `hcl:"connect_timeout,optional"` // default 15s
	SudoPassword   *sudoPassword `hcl:"sudo_password,block"`
}

// sudoPassword says where sudo's password comes from: one of these.
type sudoPassword struct {
	Ask     bool     `hcl:"ask,optional"`
	File    string   `hcl:"file,optional"`
	Env     string   `hcl:"env,optional"`
	Command []string `hcl:"command,optional"`
}

func (l *loader) host(n *node) Host {
	var b hostBlock
	l.fillWith(n, &b, l.blocks(steps.InHost))
	h := Host{
		Name: n.label, Address: b.Address, User: b.User, Port: b.Port, Identity: l.local(b.Identity), Jump: b.Jump,
		Become: host.Become(b.Become), ConnectTimeout: defaultConnectTimeout, Pos: l.pos(n.def),
	}
	if b.SudoPassword != nil {
		h.SudoPassword = PasswordSource(*b.SudoPassword)
		h.SudoPassword.File = l.local(b.SudoPassword.File)
	}
	if h.Become == "" {
		h.Become = host.BecomeNone
		if b.SudoPassword != nil || b.User != "" && b.User != "root" {
			h.Become = host.BecomeSudo
		}
	}
	if d, ok := l.duration(n, "connect_timeout", b.ConnectTimeout); ok {
		h.ConnectTimeout = d
	}
	h.Blocks = l.declared(n, steps.InHost, steps.Decl{Host: n.label})
	l.checkHost(n, h)
	l.checkBlocks(n, h.Blocks, &steps.Site{})
	return h
}

var hostName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*$`)

func (l *loader) checkHost(n *node, h Host) {
	if n.label != "" && (!hostName.MatchString(n.label) || len(n.label) > steps.MaxName) {
		l.fail(n.name, fmt.Sprintf("%q is no name for a host", n.label), "use letters, digits, dots, - and _; the machine's own name goes to address")
	}
	if n.hasAttr("address") && n.known("address") {
		l.checkAddress(n, h.Address)
	}
	if n.known("user") && (strings.ContainsAny(h.User, "@:/") || strings.ContainsFunc(h.User, blank)) || strings.HasPrefix(h.User, "-") {
		l.fail(n.at("user"), "this is no name of a user", `write user = "root", say`)
	}
	steps.CheckPort(nodeBlock{l, n}, "port", h.Port, 1)
	if n.hasAttr("become") && n.known("become") && h.Become != host.BecomeNone && h.Become != host.BecomeSudo {
		l.fail(n.at("become"), fmt.Sprintf("there is no way %q to become root", h.Become), `write become = "sudo", or "none" for a login as root`)
	}
	if n.hasAttr("become") && h.Become == host.BecomeNone && h.User != "" && h.User != "root" {
		l.warn(n.at("become"), "a login that is not root stays without root's rights", `write become = "sudo"`)
	}
	if n.hasAttr("jump") && n.known("jump") {
		if err := host.CheckJump(h.Jump); err != nil {
			l.fail(n.at("jump"), err.Error(), `write jump = "user@host:port", several with commas, or "none"`)
		}
	}
	p := n.child("sudo_password")
	if p == nil {
		return
	}
	if n.hasAttr("become") && h.Become == host.BecomeNone {
		l.fail(p.def, "sudo_password {} is there, but sudo is not used", `write become = "sudo", or remove the block`)
	}
	if len(p.given) != 1 || p.hasAttr("ask") && p.known("ask") && !h.SudoPassword.Ask || p.hasAttr("command") && p.known("command") && len(h.SudoPassword.Command) == 0 {
		l.fail(p.def, "sudo_password {} needs exactly one source", `write one of ask = true, file = "...", env = "NAME", command = ["...", "..."]`)
	}
}

// blank reports what no name holds: spaces, line ends, control characters.
func blank(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }

func (l *loader) checkAddress(n *node, address string) {
	at := n.at("address")
	switch _, port, colon := strings.Cut(address, ":"); {
	case address == "":
		l.fail(at, "address is empty", "write "+samples["address"]+", a name, or an alias of ~/.ssh/config")
	case strings.Contains(address, "://"):
		l.fail(at, "address is a URL", "write the name or the address alone")
	case strings.Contains(address, "@"):
		l.fail(at, "address holds a user", "write user = \"...\" in a line of its own")
	case colon && !strings.Contains(port, ":"):
		l.fail(at, "address holds a port", "write port = ... in a line of its own")
	case strings.ContainsAny(address, "/[]") || strings.ContainsFunc(address, blank) || strings.HasPrefix(address, "-"):
		l.fail(at, "this is no address", "write an IP address, a name, or an alias of ~/.ssh/config")
	}
}

// duration reads a time like 90s; false where it is not given or wrong.
func (l *loader) duration(n *node, attr, text string) (time.Duration, bool) {
	if !n.hasAttr(attr) || !n.known(attr) {
		return 0, false
	}
	d, wrong, fix := readDuration(attr, text)
	if wrong != "" {
		l.fail(n.at(attr), wrong, fix)
		return 0, false
	}
	return d, true
}

// readDuration reads a time like 90s, or says what is wrong and how to write it.
func readDuration(attr, text string) (d time.Duration, wrong, fix string) {
	d, err := time.ParseDuration(text)
	if err != nil || d < time.Second || d > 24*time.Hour {
		return 0, attr + " is no duration between 1s and 24h", `write a number and a unit, like "90s" or "2m"`
	}
	return d, "", ""
}

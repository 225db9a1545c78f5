package plans

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/steps"
)

// Defaults of a site's components.
const (
	defaultBind         = "127.0.0.1"
	defaultSFUContainer = "livekit-sfu"
	defaultParticipants = 40
	defaultSFUUser      = 10030
	defaultSignalling   = 7880
	defaultTCP          = 7881
	defaultUDP          = "50100-50200"

	defaultAuthContainer = "element-call-jwt"
	defaultAuthPort      = 8080
	defaultAuthUser      = 10033

	defaultUnit         = "matrix-synapse.service"
	defaultStartTimeout = 120 * time.Second
	defaultMaxDelay     = "24h"

	defaultRevertAfter = 3 * time.Minute
	minRevertAfter     = 3 * time.Second // the laptop has to be heard of meanwhile
)

// siteBlock is a site block as it is written.
type siteBlock struct {
	SFU       *sfuBlock          `hcl:"sfu,block"`
	Auth      *steps.Auth        `hcl:"auth,block"`
	Keys      *steps.LiveKitKeys `hcl:"livekit_keys,block"`
	Synapse   []*node            `hcl:"synapse,block"`
	Proxies   []*node            `hcl:"proxy,block"`
	WellKnown []*node            `hcl:"well_known,block"`
	Verify    *steps.Verify      `hcl:"verify,block"`

	RevertAfter string `hcl:"revert_after,optional"`
}

// sfuBlock is an sfu block: hosts is host for several, of which there can be
// one so far.
type sfuBlock struct {
	steps.SFU
	Hosts []string `hcl:"hosts,optional"`
}

func (l *loader) site(n *node) Site {
	var b siteBlock
	l.fill(n, &b)
	s := Site{ServerName: n.label, Keys: b.Keys, RevertAfter: defaultRevertAfter, Pos: l.pos(n.def)}
	l.checkServerName(n)
	if d, ok := l.duration(n, "revert_after", b.RevertAfter); ok {
		if d < minRevertAfter {
			l.fail(n.at("revert_after"), fmt.Sprintf("revert_after is shorter than %s", minRevertAfter), "a host must not give up between two signs of the laptop; leave it out for "+defaultRevertAfter.String())
		}
		s.RevertAfter = d
	}
	if b.SFU != nil {
		s.SFU = l.sfu(n.child("sfu"), *b.SFU)
	} else {
		l.missing(n, "sfu", sampleBlock("sfu", "host", "url"))
	}
	if b.Auth != nil {
		s.Auth = l.auth(n.child("auth"), *b.Auth, n.label)
	} else {
		l.missing(n, "auth", sampleBlock("auth", "host", "url"))
	}
	s.Synapse = l.only(n, b.Synapse, "synapse", steps.Synapses(), `synapse "debian" { host = host.NAME }`)
	s.WellKnown = l.only(n, b.WellKnown, "well_known", steps.WellKnowns(), sampleBlock(`well_known "file"`, "host", "path"))
	for _, p := range b.Proxies {
		s.Proxies = append(s.Proxies, l.variant(p, steps.Proxies()))
	}
	if len(b.Proxies) == 0 {
		l.missing(n, "proxy", `proxy "nginx" { host = host.NAME }`)
	}
	if b.Verify != nil {
		s.Verify = *b.Verify
	}
	if !n.child("verify").has("level") {
		s.Verify.Level = "media"
	}
	s.Verify.CAFile = l.local(s.Verify.CAFile)
	if t := s.Verify.AccessToken; t != nil {
		t.File = l.local(t.File)
	}
	l.checkSite(n, s)
	return s
}

func (l *loader) missing(n *node, kind, sample string) {
	if len(n.nodes[kind]) == 0 {
		l.fail(n.def, fmt.Sprintf("site %q has no %s {}", n.label, kind), "add "+sample)
	}
}

// sampleBlock shows how to write a block; HCL takes no two attributes in a line.
func sampleBlock(head string, attrs ...string) string {
	lines := []string{head + " {"}
	for _, a := range attrs {
		lines = append(lines, "  "+samples[a])
	}
	return strings.Join(append(lines, "}"), "\n")
}

// only is the site's one block of a kind that has variants.
func (l *loader) only(n *node, nodes []*node, kind string, kinds map[string]steps.Kind, sample string) Variant {
	if len(nodes) == 0 {
		l.missing(n, kind, sample)
		return Variant{}
	}
	for _, more := range nodes[1:] {
		l.fail(more.def, kind+" {} stands here a second time", fmt.Sprintf("keep one; the first is in line %d", nodes[0].def.Start.Line))
	}
	return l.variant(nodes[0], kinds)
}

func (l *loader) sfu(n *node, b sfuBlock) steps.SFU {
	c := b.SFU
	if n.has("hosts") {
		switch {
		case n.has("host"):
			l.fail(n.at("hosts"), "host and hosts are both there", "keep host")
		case !n.known("hosts"):
		case len(b.Hosts) != 1:
			l.fail(n.at("hosts"), "an SFU on several hosts is not built yet", "name one host")
		case l.knownHost(b.Hosts[0], n.at("hosts")):
			c.Host = b.Hosts[0]
		}
	}
	setDefault(n, "image", &c.Image, steps.DefaultSFUImage)
	setDefault(n, "container", &c.Container, defaultSFUContainer)
	setDefault(n, "bind", &c.Bind, defaultBind)
	if ips, ok := nodeIPs(c.NodeIP); ok {
		c.NodeIP = joined(ips)
	}
	setDefault(n, "participants", &c.Participants, defaultParticipants)
	setDefault(n, "uid", &c.UID, defaultSFUUser)
	if c.Ports == nil {
		c.Ports = &steps.Ports{}
	}
	p := n.child("ports")
	setDefault(p, "signalling", &c.Ports.Signalling, defaultSignalling)
	setDefault(p, "tcp", &c.Ports.TCP, defaultTCP)
	setDefault(p, "udp", &c.Ports.UDP, defaultUDP)
	c.Ports.UDP = strings.ReplaceAll(c.Ports.UDP, " ", "")
	c.Archive = l.local(c.Archive)
	return c
}

func (l *loader) auth(n *node, c steps.Auth, server string) steps.Auth {
	setDefault(n, "image", &c.Image, steps.DefaultAuthImage)
	setDefault(n, "container", &c.Container, defaultAuthContainer)
	setDefault(n, "bind", &c.Bind, defaultBind)
	setDefault(n, "port", &c.Port, defaultAuthPort)
	setDefault(n, "uid", &c.UID, defaultAuthUser)
	if !n.has("full_access") {
		c.FullAccess = []string{server}
	}
	c.Archive = l.local(c.Archive)
	return c
}

func setDefault[T any](n *node, attr string, dst *T, value T) {
	if !n.has(attr) {
		*dst = value
	}
}

// variant decodes a block whose label names one of kinds.
func (l *loader) variant(n *node, kinds map[string]steps.Kind) Variant {
	v := Variant{Label: n.label, Pos: l.pos(n.def)}
	k, ok := kinds[n.label]
	if !ok {
		if n.label != "" {
			l.unsupported(n, slices.Sorted(maps.Keys(kinds)))
		}
		return v
	}
	v.Config = k.Config()
	l.fill(n, v.Config)
	switch c := v.Config.(type) {
	case *steps.SynapseDebian:
		v.Host = c.Host
		setDefault(n, "unit", &c.Unit, defaultUnit)
		setDefault(n, "max_event_delay", &c.MaxDelay, defaultMaxDelay)
		c.StartTimeout = defaultStartTimeout
		if d, ok := l.duration(n, "start_timeout", c.StartText); ok {
			c.StartTimeout = d
		}
		setDefault(n, "start_timeout", &c.StartText, defaultStartTimeout.String())
	case *steps.SynapseExternal:
		v.Host = c.Host
	case *steps.ProxyNginx:
		v.Host = c.Host
	case *steps.ProxyExternal:
		v.Host = c.Host
	case *steps.WellKnownFile:
		v.Host = c.Host
	case *steps.WellKnownExternal:
		v.Host = c.Host
	}
	return v
}

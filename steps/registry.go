package steps

import "fmt"

// Kind is a variant that a block's label names: how to make its config, and
// how to make the step that it stands for.
type Kind struct {
	Config func() any // a pointer to the variant's config struct
	Build  func(config any, site Site) (Step, error)
}

// Synapses are the variants of synapse blocks.
func Synapses() map[string]Kind {
	return map[string]Kind{
		"debian":   kind(func(c *SynapseDebian, s Site) Step { return SynapseOnDebian(s, *c) }),
		"external": kind(func(c *SynapseExternal, s Site) Step { return ExternalSynapse(s, *c) }),
	}
}

// Proxies are the variants of proxy blocks.
func Proxies() map[string]Kind {
	return map[string]Kind{
		"nginx":    kind(func(c *ProxyNginx, s Site) Step { return Nginx(s, *c) }),
		"external": kind(func(c *ProxyExternal, s Site) Step { return ExternalProxy(s, c.Host) }),
	}
}

// WellKnowns are the variants of well_known blocks.
func WellKnowns() map[string]Kind {
	return map[string]Kind{
		"file":     kind(func(c *WellKnownFile, s Site) Step { return WellKnownOnDisk(s, *c) }),
		"external": kind(func(_ *WellKnownExternal, s Site) Step { return ExternalWellKnown(s) }),
	}
}

// Firewalls are the variants of firewall blocks. A host without such a block
// gets whichever is there.
func Firewalls() map[string]Kind {
	return map[string]Kind{
		"ufw":  kind(func(_ *FirewallUFW, s Site) Step { return Firewall(s, "ufw") }),
		"none": kind(func(_ *FirewallNone, s Site) Step { return Firewall(s, "none") }),
	}
}

func kind[C any](build func(*C, Site) Step) Kind {
	return Kind{
		Config: func() any { return new(C) },
		Build: func(config any, site Site) (Step, error) {
			c, ok := config.(*C)
			if !ok {
				return nil, fmt.Errorf("build step: config is %T, not %T", config, new(C))
			}
			return build(c, site), nil
		},
	}
}

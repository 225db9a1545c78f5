package steps

// AllVariants lists all that is supported. A block's variants stand together, in the
// order in which the site's parts are told; the first one is the example of its block.
func AllVariants() []Variant {
	firewalls := []Variant{UFWVariant(), FirewallNoneVariant()}
	return append([]Variant{
		MachineVariant(),
		SFUVariant(),
		AuthVariant(),
		SynapseDebianVariant(), SynapseExternalVariant(),
		NginxVariant(), ProxyExternalVariant(),
		WellKnownFileVariant(), WellKnownExternalVariant(),
		FirewallFoundVariant(firewalls...),
	}, firewalls...)
}

package all

import (
	"github.com/emdecloud/ecdeploy/steps"
	"github.com/emdecloud/ecdeploy/steps/auth"
	"github.com/emdecloud/ecdeploy/steps/firewall"
	"github.com/emdecloud/ecdeploy/steps/homeserver/synapse"
	"github.com/emdecloud/ecdeploy/steps/machine"
	"github.com/emdecloud/ecdeploy/steps/proxy"
	"github.com/emdecloud/ecdeploy/steps/proxy/caddy"
	"github.com/emdecloud/ecdeploy/steps/proxy/nginx"
	"github.com/emdecloud/ecdeploy/steps/sfu"
	"github.com/emdecloud/ecdeploy/steps/wellknown"
)

// Variants lists all that is supported. A block's variants stand together, in the
// order in which the site's parts are told; the first one is the example of its block.
func Variants() []steps.Variant {
	firewalls := []steps.Variant{firewall.UFWVariant(), firewall.NFTablesVariant(), firewall.NoneVariant()}
	return append([]steps.Variant{
		machine.Variant(),
		sfu.Variant(),
		auth.Variant(),
		synapse.PackageVariant(), synapse.VenvVariant(), synapse.ExternalVariant(),
		nginx.Variant(), caddy.Variant(), proxy.ExternalVariant(),
		wellknown.FileVariant(), wellknown.ExternalVariant(),
		firewall.FoundVariant(firewalls...),
	}, firewalls...)
}

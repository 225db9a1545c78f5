package plans

import (
	"fmt"
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/steps"
)

// notBuilt are blocks that are planned, by their names.
var notBuilt = map[string]struct{ what, wayOut string }{
	"web":    {"the Element Call app (web {})", "remove the block; people can call from Element, or from an Element Call app that you set up yourself"},
	"docker": {"installing Docker (docker {})", "remove the block and install Docker 20.10 or newer on the host yourself"},
}

// unsupported notes a label that names no variant of kind.
func (l *loader) unsupported(n *node, kind []steps.Variant) {
	var names []string
	advice := "remove the block"
	for _, v := range kind {
		if v.Label != "" {
			names = append(names, v.Label)
		}
		if v.WayOut != "" {
			advice = v.WayOut
		}
	}
	slices.Sort(names)
	if near := nearest(n.label, names); near != "" {
		l.fail(n.name, fmt.Sprintf("there is no %s %q", n.kind, n.label), fmt.Sprintf("did you mean %s %q?", n.kind, near))
		return
	}
	l.fail(n.name, fmt.Sprintf("%s %q is not supported; supported are %s", n.kind, n.label, strings.Join(names, ", ")), advice)
}

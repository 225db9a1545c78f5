package steps

import (
	"slices"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/splice"
)

// NamesService reports whether a list of transports has the site's JWT service.
func NamesService(v any, site *Site) bool {
	list, _ := v.([]any)
	return slices.ContainsFunc(list, func(t any) bool {
		m, _ := t.(splice.Map)
		url, _ := m.Get("livekit_service_url").(string)
		return strings.TrimRight(url, "/") == site.ServiceURL()
	})
}

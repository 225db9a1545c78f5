package synapse

import (
	"fmt"
	"net"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/netaddr"
	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// notes explain settings that do not do what guides say, or not what somebody
// may think who reads one file only.
func (f facts) notes(from Origin) []steps.Finding {
	var out []steps.Finding
	for _, file := range slices.Backward(f.files) {
		if v, ok := get(file.Data, "experimental_features", "msc4140_enabled"); ok {
			out = append(out, steps.Note.Finding(fmt.Sprintf("experimental_features.msc4140_enabled (%v) in %s has no effect: "+
				"no Synapse has such a key; delayed events are switched on by max_event_delay_duration",
				v, file.Path),
				""))
			break
		}
	}
	if v, ok := f.effective("experimental_features", "msc4140_max_delayed_events_per_user"); ok && v == 0 {
		out = append(out, steps.Warning.Finding("experimental_features.msc4140_max_delayed_events_per_user is 0, "+
			"which switches delayed events off: calls would not end for people whose connection breaks",
			"remove that key, or set it to 100"))
	}
	for _, key := range []string{"experimental_features", "listeners", "matrix_rtc", "max_event_delay_duration", "rc_message", "rc_delayed_event_mgmt"} {
		home := f.home(key)
		for i := range f.files[:max(home, 0)] {
			if _, ok := get(f.files[i].Data, key); ok {
				out = append(out, steps.Note.Finding(fmt.Sprintf("%s in %s has no effect: %s has that key too, is read later and wins as a whole",
					key, f.files[i].Path, f.files[home].Path),
					""))
			}
		}
	}
	if f.version == "" {
		out = append(out, steps.Warning.Finding("Synapse's version on "+f.name+" "+from.traits().unknown+"; 1.140 is needed", ""))
	}
	if f.localURL() == "" {
		out = append(out, steps.Warning.Finding("no listener of Synapse on "+f.name+
			" serves clients over plain HTTP on a port: whether its settings took effect is not checked",
			""))
	}
	return append(out, f.transportNotes()...)
}

// transportNotes are about transports of somebody else's making.
func (f facts) transportNotes() []steps.Finding {
	v, _ := f.effective("matrix_rtc", "transports")
	list, _ := v.([]any)
	for _, t := range list {
		if m, ok := t.(splice.Map); ok && m.Get("type") == "livekit" && m.Get("url") != nil {
			return []steps.Finding{steps.Warning.Finding(fmt.Sprintf("matrix_rtc.transports has a url (%v) next to "+
				"livekit_service_url: newer clients then go through Synapse to an application service, which ecdeploy does not set up yet",
				m.Get("url")),
				"remove that url unless an application service serves it")}
		}
	}
	return nil
}

// workerNames are the workers that run, or that the configuration knows.
func (f facts) workerNames() []string {
	out := slices.Clone(f.workers)
	v, _ := f.effective("instance_map")
	m, _ := v.(splice.Map)
	for _, p := range m {
		if p.Key != "main" && !slices.Contains(out, p.Key) {
			out = append(out, p.Key)
		}
	}
	if v, _ := f.effective("redis", "enabled"); v == true && len(out) == 0 {
		out = append(out, "redis is enabled, which only workers need")
	}
	return out
}

// otherName is Synapse's server name where the site's is another one: tokens for
// the wrong name let nobody start a call.
func (f facts) otherName(site *steps.Site) string {
	v, _ := f.effective("server_name")
	if s, ok := v.(string); ok && s != site.Name {
		return s
	}
	return ""
}

func synapseChecks(site *steps.Site, c *Service, f facts) []steps.Check {
	logs := "unit:" + c.Unit
	hint := "journalctl -u " + c.Unit
	var out []steps.Check
	if base := f.localURL(); base != "" {
		flags := []string{"org.matrix.msc4140"}
		if !f.older("1.156.0") && f.version != "" {
			flags = append(flags, "org.matrix.msc4143")
		}
		out = append(out,
			steps.Check{
				Name:    "Synapse has delayed events on",
				HTTP:    &steps.HTTPCheck{URL: base + "/_matrix/client/versions", Status: 200, JSONTrue: flags},
				Timeout: c.StartTimeout,
				Logs:    logs,
				Hint:    hint,
			},
			steps.Check{
				Name:    "Synapse serves the transports",
				HTTP:    &steps.HTTPCheck{URL: base + "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", Status: 401, Body: "M_MISSING_TOKEN"},
				Timeout: 20 * time.Second,
				Logs:    logs,
				Hint:    hint,
			})
	}
	if base := f.openIDURL(); base != "" {
		out = append(out, steps.Check{
			Name:    "Synapse answers OpenID look-ups",
			HTTP:    &steps.HTTPCheck{URL: base + "/_matrix/federation/v1/openid/userinfo?access_token=x", Status: 401, Body: "M_UNKNOWN_TOKEN"},
			Timeout: c.StartTimeout,
			Logs:    logs,
			Hint:    hint,
		})
	}
	return out
}

// localURL is where Synapse answers clients over plain HTTP on its own host.
func (f facts) localURL() string {
	url, _ := f.listener("client")
	return url
}

// openIDURL is where it answers OpenID look-ups: where a listener does so
// already, else where clients are served, to which openid is then added.
func (f facts) openIDURL() string {
	if url, found := f.listener("federation", "openid"); found {
		return url
	}
	return f.localURL()
}

// listener finds a listener that serves one of the resources. found tells
// whether there is one; url is "" where none of these is plain HTTP on a port.
func (f facts) listener(resources ...string) (url string, found bool) {
	v, _ := f.effective("listeners")
	list, _ := v.([]any)
	for _, l := range list {
		m, _ := l.(splice.Map)
		served, _ := m.Get("resources").([]any)
		for _, r := range served {
			rm, _ := r.(splice.Map)
			if !slices.ContainsFunc(names(rm.Get("names")), func(n string) bool { return slices.Contains(resources, n) }) {
				continue
			}
			found = true
			if port, ok := m.Get("port").(int); ok && url == "" && m.Get("tls") != true {
				url = "http://" + net.JoinHostPort(listenAddr(m), strconv.Itoa(port))
			}
		}
	}
	return url, found
}

// listenAddr is where a listener can be asked; IPv4 where it has both, since a
// host without IPv6 lacks ::1 though Debian's package names it.
func listenAddr(m splice.Map) string {
	all := names(m.Get("bind_addresses"))
	if a, ok := m.Get("bind_address").(string); ok && len(all) == 0 {
		all = []string{a}
	}
	if len(all) == 0 {
		return "127.0.0.1"
	}
	if i := slices.IndexFunc(all, func(a string) bool { return !strings.Contains(a, ":") }); i >= 0 {
		return netaddr.Dialable(all[i])
	}
	return netaddr.Dialable(all[0])
}

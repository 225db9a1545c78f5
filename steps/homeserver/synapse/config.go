package synapse

import (
	"fmt"
	"math"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/emdecloud/ecdeploy/internal/splice"
	"github.com/emdecloud/ecdeploy/steps"
)

// Synapse merges its files by top-level key: the last file that has a key wins
// the whole section. So a setting is edited in the file where its top-level
// key is effective, and a key that no file has goes to the end of the first
// file. A drop-in of our own would silently shadow what an admin later writes
// into homeserver.yaml.

// setting is one value that the effective configuration is to have.
type setting struct {
	path   []any
	value  any
	add    bool // append value to the list at path instead of replacing it
	need   steps.Requirement
	before string // as in translation
}

type settings []setting

// translation is what a need means in Synapse's settings: those that are missing.
type translation struct {
	need   steps.Requirement
	before string // only Synapses older than this version need it; "" for all
	want   func(f facts, url, maxDelay string) settings
}

// translations are in the order in which new keys are written
// (element-hq/synapse docs/usage/configuration, element-call
// docs/self_hosting.md). Limits are raised, never lowered.
var translations = []translation{
	{need: steps.Transport, want: func(f facts, _, _ string) settings { return f.flag("msc4143_enabled") }},
	{need: steps.StateAfter, want: func(f facts, _, _ string) settings { return f.flag("msc4222_enabled") }},
	{need: steps.RoomSummary, before: "1.153.0", want: func(f facts, _, _ string) settings { return f.flag("msc3266_enabled") }},
	{need: steps.DelayedEvents, want: func(f facts, _, maxDelay string) settings { return f.delay(maxDelay) }},
	{need: steps.CallRates, want: func(f facts, _, _ string) settings { return f.limit("rc_message", 0.2, 10, 0.5, 30) }},
	{need: steps.CallRates, want: func(f facts, _, _ string) settings { return f.limit("rc_delayed_event_mgmt", 1, 5, 1, 20) }},
	{need: steps.Transport, want: func(f facts, url, _ string) settings { return f.transports(url) }},
	{need: steps.OpenID, want: func(f facts, _, _ string) settings { return f.openID() }},
}

// wants are what is missing from the effective configuration for these needs.
func (f facts) wants(needs []steps.Need, maxDelay string) settings {
	var out settings
	for _, t := range translations {
		i := slices.IndexFunc(needs, func(n steps.Need) bool { return n.What == t.need })
		if i < 0 || t.before != "" && !f.older(t.before) {
			continue
		}
		for _, s := range t.want(f, needs[i].URL, maxDelay) {
			s.need, s.before = t.need, t.before
			out = append(out, s)
		}
	}
	return out
}

func (f facts) flag(name string) settings {
	if v, _ := f.effective("experimental_features", name); v == true {
		return nil
	}
	return settings{{path: []any{"experimental_features", name}, value: true}}
}

func (f facts) delay(least string) settings {
	if v, _ := f.effective("max_event_delay_duration"); synapseDuration(v) >= synapseDuration(least) {
		return nil
	}
	return settings{{path: []any{"max_event_delay_duration"}, value: least}}
}

// limit raises a rate limit to at least perSecond and burst; what an absent
// part defaults to comes before them.
func (f facts) limit(key string, defPer, defBurst, perSecond, burst float64) settings {
	if f.unseen {
		defPer, defBurst = 0, 0
	}
	var out settings
	if v, ok := f.effective(key, "per_second"); number(v, ok, defPer) < perSecond {
		out = append(out, setting{path: []any{key, "per_second"}, value: perSecond})
	}
	if v, ok := f.effective(key, "burst_count"); number(v, ok, defBurst) < burst {
		out = append(out, setting{path: []any{key, "burst_count"}, value: int(burst)})
	}
	return out
}

func number(v any, ok bool, def float64) float64 {
	switch n := v.(type) {
	case int:
		return float64(n)
	case int64:
		return float64(n)
	case float64:
		return n
	case *big.Int: // only where it is too large for an int
		return math.Inf(n.Sign())
	}
	return def
}

// transports announces the site's JWT service as the livekit transport and
// keeps transports of other types.
func (f facts) transports(url string) settings {
	entry := splice.Map{{Key: "type", Value: "livekit"}, {Key: "livekit_service_url", Value: url}}
	v, ok := f.effective("matrix_rtc", "transports")
	list, _ := v.([]any)
	if !ok || len(list) == 0 {
		return settings{{path: []any{"matrix_rtc", "transports"}, value: []any{entry}}}
	}
	first := -1
	for i, t := range list {
		m, ok := t.(splice.Map)
		if !ok || m.Get("type") != "livekit" {
			continue
		}
		if m.Get("livekit_service_url") == url {
			return nil
		}
		if first < 0 {
			first = i
		}
	}
	if first >= 0 { // an older URL of ours; a second SFU is never announced
		return settings{{path: []any{"matrix_rtc", "transports", first, "livekit_service_url"}, value: url}}
	}
	return settings{{path: []any{"matrix_rtc", "transports"}, value: entry, add: true}}
}

// openID makes sure that some HTTP listener serves OpenID look-ups, which
// "federation" includes.
func (f facts) openID() settings {
	v, _ := f.effective("listeners")
	list, _ := v.([]any)
	var client []any
	for i, l := range list {
		m, _ := l.(splice.Map)
		resources, _ := m.Get("resources").([]any)
		for j, r := range resources {
			rm, _ := r.(splice.Map)
			for _, n := range names(rm.Get("names")) {
				switch n {
				case "federation", "openid":
					return nil
				case "client":
					if client == nil {
						client = []any{"listeners", i, "resources", j, "names"}
					}
				}
			}
		}
	}
	if client == nil {
		return nil // said by notes: nothing serves clients
	}
	return settings{{path: client, value: "openid", add: true}}
}

func names(v any) []string {
	if s, ok := v.(string); ok {
		return []string{s}
	}
	list, _ := v.([]any)
	var out []string
	for _, n := range list {
		if s, ok := n.(string); ok {
			out = append(out, s)
		}
	}
	return out
}

// effective is the value at path in the merged configuration.
func (f facts) effective(path ...any) (any, bool) {
	if i := f.home(path[0]); i >= 0 {
		return get(f.files[i].Data, path...)
	}
	return nil, false
}

// home is the index of the file in which a top-level key is effective; -1
// where no file has it.
func (f facts) home(key any) int {
	for i := len(f.files) - 1; i >= 0; i-- {
		if _, ok := get(f.files[i].Data, key); ok {
			return i
		}
	}
	return -1
}

func get(data []byte, path ...any) (any, bool) {
	v, ok, err := splice.YAMLGet(data, path)
	return v, ok && err == nil
}

// edit makes the edits, each in the file where it is effective.
func (s settings) edit(files []configFile) ([]steps.FileEdit, error) {
	f := facts{files: files}
	todo := make([][]func([]byte) ([]splice.Edit, error), len(files))
	for _, set := range s {
		i := max(f.home(set.path[0]), 0)
		todo[i] = append(todo[i], set.edits)
	}
	var out []steps.FileEdit
	for i, file := range files {
		if _, err := splice.YAMLTop(file.Data); err != nil {
			return nil, fmt.Errorf("%s: %w", file.Path, err)
		}
		if len(todo[i]) == 0 {
			continue
		}
		if file.Loose != "" {
			return nil, fmt.Errorf("%s: %w", file.Path, steps.LooseLink(file.Loose))
		}
		edits, err := splice.Chain(file.Data, todo[i]...)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file.Path, err)
		}
		e, err := steps.ForeignFile(file.Path, file.Data, edits)
		if err != nil {
			return nil, err
		}
		out = append(out, e)
	}
	return out, nil
}

func (s setting) edits(text []byte) ([]splice.Edit, error) {
	if s.add {
		return splice.YAMLAppend(text, s.path, s.value)
	}
	return splice.YAMLSet(text, s.path, s.value)
}

// synapseDuration reads Synapse's durations: milliseconds as a number, or a
// number with s, m, h, d, w or y (synapse/config/_base.py parse_duration).
func synapseDuration(v any) time.Duration {
	switch d := v.(type) {
	case int:
		return time.Duration(d) * time.Millisecond
	case string:
		units := map[string]time.Duration{"s": time.Second, "m": time.Minute, "h": time.Hour, "d": 24 * time.Hour, "w": 7 * 24 * time.Hour, "y": 365 * 24 * time.Hour}
		for u, size := range units {
			if n, err := strconv.Atoi(strings.TrimSuffix(d, u)); err == nil && strings.HasSuffix(d, u) {
				return time.Duration(n) * size
			}
		}
		if n, err := strconv.Atoi(d); err == nil {
			return time.Duration(n) * time.Millisecond
		}
	}
	return 0
}

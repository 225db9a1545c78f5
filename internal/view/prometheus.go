package view

import (
	"fmt"
	"io"
	"strconv"
	"strings"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// family is a metric with its series in the order in which they came.
type family struct {
	name, help string
	order      []string
	values     map[string]float64
}

// keep adds a series. Prometheus refuses a whole file in which one stands
// twice, so of two with the same labels one is made by join.
func (f *family) keep(labels string, v float64, join func(a, b float64) float64) {
	old, twice := f.values[labels]
	if !twice {
		f.order = append(f.order, labels)
		f.values[labels] = v
		return
	}
	f.values[labels] = join(old, v)
}

func lower(a, b float64) float64  { return min(a, b) }
func higher(a, b float64) float64 { return max(a, b) }
func sum(a, b float64) float64    { return a + b }

// Prometheus writes reports in the text format that node_exporter's textfile
// collector reads.
func Prometheus(w io.Writer, reports []rtc.Report) error {
	var all []*family
	metric := func(name, help string) *family {
		f := &family{name: "ecdeploy_verify_" + name, help: help, values: map[string]float64{}}
		all = append(all, f)
		return f
	}
	works := metric("works", "Whether links were seen to work and none failed; where media was tried, whether it arrived, too.")
	when := metric("timestamp_seconds", "When the site was looked at.")
	ok := metric("link_ok", "Whether a link that a call needs works; what was not seen is left out.")
	took := metric("link_seconds", "How long it took to look at a link.")
	packets := metric("media_packets", "RTP packets that arrived.")
	lost := metric("media_lost", "RTP packets that never arrived.")
	jitter := metric("media_jitter_seconds", "Jitter of the media that arrived.")
	rtt := metric("media_rtt_seconds", "Round trip of the connectivity checks on the chosen pair.")
	for _, r := range reports {
		site := labels("site", r.Site)
		works.keep(site, worked(r), lower)
		when.keep(site, float64(r.Began.UnixMilli())/1000, higher)
		for _, l := range r.Links {
			of := labels("site", r.Site, "link", l.ID, "part", string(l.Part), "from", l.From)
			switch l.Status {
			case rtc.OK, rtc.Warning:
				ok.keep(of, 1, lower)
			case rtc.Failed:
				ok.keep(of, 0, lower)
			default:
				continue
			}
			took.keep(of, l.Took.Seconds(), higher)
		}
		for _, f := range r.Flows {
			of := labels("site", r.Site, "network", f.Network, "kind", f.Kind)
			packets.keep(of, float64(f.Packets), sum)
			lost.keep(of, float64(f.Lost), sum)
			if f.Packets > 0 {
				jitter.keep(of, f.Jitter/1000, higher)
			}
			if f.RTT > 0 {
				rtt.keep(of, f.RTT/1000, higher)
			}
		}
	}
	return expose(w, all)
}

func worked(r rtc.Report) float64 {
	if r.Proved() {
		return 1
	}
	return 0
}

func expose(w io.Writer, all []*family) error {
	var b strings.Builder
	for _, f := range all {
		if len(f.order) == 0 {
			continue
		}
		fmt.Fprintf(&b, "# HELP %s %s\n# TYPE %s gauge\n", f.name, f.help, f.name)
		for _, l := range f.order {
			fmt.Fprintf(&b, "%s{%s} %s\n", f.name, l, strconv.FormatFloat(f.values[l], 'f', -1, 64))
		}
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write metrics: %w", err)
	}
	return nil
}

// inLabel escapes what would end a label's value.
var inLabel = strings.NewReplacer(`\`, `\\`, `"`, `\"`, "\n", `\n`)

// labels makes labels of names and values in turn.
func labels(pairs ...string) string {
	var out []string
	for i := 0; i+1 < len(pairs); i += 2 {
		out = append(out, pairs[i]+`="`+inLabel.Replace(line(pairs[i+1]))+`"`)
	}
	return strings.Join(out, ",")
}

package view

import (
	"bytes"
	"errors"
	"maps"
	"math"
	"slices"
	"strings"
	"testing"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"github.com/prometheus/common/model"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// parseMetrics are the metrics of reports, as node_exporter reads them.
func parseMetrics(t *testing.T, reports ...rtc.Report) map[string]*dto.MetricFamily {
	t.Helper()
	var out bytes.Buffer
	if err := Prometheus(&out, reports); err != nil {
		t.Fatal(err)
	}
	p := expfmt.NewTextParser(model.LegacyValidation)
	families, err := p.TextToMetricFamilies(bytes.NewReader(out.Bytes()))
	if err != nil {
		t.Fatalf("%v in\n%s", err, &out)
	}
	seen := map[string]bool{}
	for l := range strings.Lines(out.String()) {
		if seen[l] && !strings.HasPrefix(l, "#") {
			t.Errorf("twice: %s", l)
		}
		seen[l] = true
	}
	return families
}

// findValue is that of the series that has these labels, of name=value each.
func findValue(families map[string]*dto.MetricFamily, name string, want ...string) (float64, bool) {
	for _, m := range families["ecdeploy_verify_"+name].GetMetric() {
		var has []string
		for _, l := range m.GetLabel() {
			has = append(has, l.GetName()+"="+l.GetValue())
		}
		if !slices.ContainsFunc(want, func(w string) bool { return !slices.Contains(has, w) }) {
			return m.GetGauge().GetValue(), true
		}
	}
	return 0, false
}

func TestPrometheus(t *testing.T) {
	families := parseMetrics(t, healthyReport(), ailingReport())
	want := []string{"link_ok", "link_seconds", "media_jitter_seconds", "media_lost", "media_packets", "media_rtt_seconds", "timestamp_seconds", "works"}
	var got []string
	for name, f := range families {
		got = append(got, strings.TrimPrefix(name, "ecdeploy_verify_"))
		if f.GetHelp() == "" || f.GetType() != dto.MetricType_GAUGE {
			t.Errorf("%s is a %v with the help %q", name, f.GetType(), f.GetHelp())
		}
	}
	if slices.Sort(got); !slices.Equal(got, want) {
		t.Errorf("metrics %q, want %q", got, want)
	}
	for _, c := range []struct {
		name   string
		labels []string
		want   float64
	}{
		{"works", []string{"site=example.org"}, 1},
		{"works", []string{"site=emdecloud.de"}, 0},
		{"timestamp_seconds", []string{"site=example.org"}, float64(began.Unix())},
		{"link_ok", []string{"site=example.org", "link=openid", "part=auth", "from=matrix"}, 1},
		{"link_ok", []string{"site=example.org", "link=tls.jwt", "part=names", "from=laptop"}, 1},
		{"link_ok", []string{"site=emdecloud.de", "link=media.udp4", "part=media", "from=laptop"}, 0},
		{"link_seconds", []string{"site=emdecloud.de", "link=media.udp4"}, 8.23},
		{"media_packets", []string{"site=example.org", "network=udp4", "kind=video"}, 1818},
		{"media_lost", []string{"site=example.org", "network=udp4", "kind=video"}, 2},
		{"media_jitter_seconds", []string{"site=example.org", "network=tcp4", "kind=audio"}, 0.00192},
		{"media_rtt_seconds", []string{"site=example.org", "network=udp4", "kind=audio"}, 0.0112},
		{"media_packets", []string{"site=emdecloud.de", "network=udp4", "kind=audio"}, 0},
	} {
		if v, ok := findValue(families, c.name, c.labels...); !ok || math.Abs(v-c.want) > 1e-9 {
			t.Errorf("%s%v is %v (%v), want %v", c.name, c.labels, v, ok, c.want)
		}
	}
	for name, labels := range map[string][]string{ // what nobody saw or measured
		"link_ok": {"site=emdecloud.de", "link=user.token"}, "link_seconds": {"site=emdecloud.de", "link=user.token"},
		"media_rtt_seconds": {"site=example.org", "network=tcp4", "kind=video"}, "media_jitter_seconds": {"site=emdecloud.de"},
	} {
		if v, ok := findValue(families, name, labels...); ok {
			t.Errorf("%s%v is %v, and was not seen", name, labels, v)
		}
	}
}

// What stands twice would make the collector refuse the whole file.
func TestPrometheusHasNothingTwice(t *testing.T) {
	r := healthyReport()
	r.Flows = append(r.Flows, rtc.Flow{Network: "udp4", Kind: "video", Sent: 9, Packets: 7, Lost: 2, Jitter: 9, RTT: 1})
	r.Links = append(r.Links, rtc.Link{ID: "tls.sfu", Part: rtc.Names, From: "laptop", Status: rtc.Failed})
	families := parseMetrics(t, r, reportWithoutMedia(), r)
	for name, want := range map[string]float64{"media_packets": 2 * (1818 + 7), "media_lost": 2 * 4, "media_jitter_seconds": 0.009, "media_rtt_seconds": 0.0112} {
		if v, ok := findValue(families, name, "network=udp4", "kind=video"); !ok || v != want {
			t.Errorf("%s is %v, want %v", name, v, want)
		}
	}
	if v, ok := findValue(families, "link_ok", "link=tls.sfu", "site=example.org"); !ok || v != 0 {
		t.Errorf("of a link that failed once it says %v", v)
	}
}

func TestPrometheusOfNothing(t *testing.T) {
	if f := parseMetrics(t); len(f) != 0 {
		t.Errorf("%v", slices.Collect(maps.Keys(f)))
	}
	if v, ok := findValue(parseMetrics(t, rtc.Report{Site: "x"}), "works", "site=x"); !ok || v != 0 {
		t.Errorf("a site of which nothing was seen works: %v", v)
	}
	if err := Prometheus(full{}, []rtc.Report{healthyReport()}); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

var errFull = errors.New("no space left on device")

// full is a file on a full disk.
type full struct{}

func (full) Write([]byte) (int, error) { return 0, errFull }

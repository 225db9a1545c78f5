package view

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// sgr are the colours.
var sgr = regexp.MustCompile("\x1b\\[[0-9;]*m")

var update = flag.Bool("update", false, "rewrite the golden files")

// compareGolden wants got to be what testdata/name has.
func compareGolden(t *testing.T, name string, got []byte) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if d := cmp.Diff(string(want), string(got)); d != "" {
		t.Errorf("%s (-want +got; -update rewrites it):\n%s", path, d)
	}
}

func TestReport(t *testing.T) {
	for name, r := range map[string]rtc.Report{"healthy": healthyReport(), "broken": ailingReport(), "without-media": reportWithoutMedia()} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			newText(&out, false).Report(r)
			compareGolden(t, "report-"+name+".txt", out.Bytes())
			var coloured bytes.Buffer
			newText(&coloured, true).Report(r)
			if plain := sgr.ReplaceAllString(coloured.String(), ""); plain != out.String() {
				t.Errorf("colours change the text:\n%s", cmp.Diff(out.String(), plain))
			}
		})
	}
}

func TestExplain(t *testing.T) {
	var out bytes.Buffer
	newText(&out, false).Explain(append(rtc.Explain("cors-twice"), rtc.Explain("livekit-restarts")...))
	compareGolden(t, "explain.txt", out.Bytes())
	out.Reset()
	if newText(&out, true).Explain(nil); out.Len() != 0 {
		t.Errorf("of nothing: %q", &out)
	}
}

// Nothing is said to work that was not seen, whatever a report lacks.
func TestVerdict(t *testing.T) {
	flow := func(network string, packets int) rtc.Flow {
		return rtc.Flow{Network: network, Kind: "audio", Sent: 50, Packets: packets}
	}
	good, unseen, bad := rtc.Link{Status: rtc.OK}, rtc.Link{Status: rtc.NotSeen}, rtc.Link{Name: "the link", Status: rtc.Failed, Code: "media"}
	at := func(s rtc.Side) rtc.Link { return rtc.Link{Name: "the link", Status: rtc.Failed, Side: s} }
	for _, c := range []struct {
		name  string
		r     rtc.Report
		state verdictState
		want  string
	}{
		{"nothing", rtc.Report{}, nothingSeen, "nothing was seen to work: nothing was looked at"},
		{"only unseen", rtc.Report{Links: []rtc.Link{unseen, {Status: "odd"}}}, nothingSeen, "nothing was seen to work: none of 2 links could be looked at"},
		{"no media", rtc.Report{Links: []rtc.Link{good, unseen}}, untried, "the links that were looked at work: 1 of 2 links (1 not seen); no media was tried, so nobody saw whether a call works"},
		{"no media arrived", rtc.Report{Links: []rtc.Link{good}, Flows: []rtc.Flow{flow("udp4", 0)}}, silent, "no media arrived: it was tried over udp4, and no link that was looked at failed"},
		{"media, and no link", rtc.Report{Flows: []rtc.Flow{flow("udp4", 1)}}, nothingSeen, "nothing was seen to work: nothing was looked at"},
		{"one network of two", rtc.Report{Links: []rtc.Link{good}, Flows: []rtc.Flow{flow("udp4", 9), flow("udp6", 9), flow("udp6", 0)}}, calls, "a call works: 1 of 1 link, media over udp4, but not over udp6"},
		{"three networks", rtc.Report{Links: []rtc.Link{good, {Status: rtc.Warning}}, Flows: []rtc.Flow{flow("udp4", 9), flow("tcp4", 9), flow("udp6", 9)}}, calls, "a call works: 2 of 2 links (1 with a warning), media over udp4, tcp4 and udp6"},
		{"a failure", rtc.Report{Links: []rtc.Link{good, bad}, Flows: []rtc.Flow{flow("udp4", 9)}}, broken, "broken at the link: no reason is known"},
		{"explained", rtc.Report{Links: []rtc.Link{bad, bad, bad}, Explained: []rtc.Explanation{{Code: "media", Why: "x"}}}, broken, "broken at the link: x; 2 links more failed"},
		{"on the way", rtc.Report{Links: []rtc.Link{at(rtc.WaySide), bad}}, broken, "broken at the link: no reason is known (the cause lies on the way to the host); 1 link more failed"},
		{"at the laptop", rtc.Report{Links: []rtc.Link{at(rtc.LaptopSide)}}, broken, "broken at the link: no reason is known (the cause lies at the laptop, not at the site)"},
		{"on the host", rtc.Report{Links: []rtc.Link{at(rtc.HostSide)}}, broken, "broken at the link: no reason is known"},
	} {
		state, short, detail := verdict(c.r)
		if got := short + ": " + detail; got != c.want || state != c.state {
			t.Errorf("%s: %d %q, want %d %q", c.name, state, got, c.state, c.want)
		}
	}
}

func TestHuman(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "", 0: "", time.Microsecond: "<1 ms", 12 * time.Millisecond: "12 ms", 999900 * time.Microsecond: "999 ms", 1250 * time.Millisecond: "1.2 s",
		12340 * time.Millisecond: "12 s", 59900 * time.Millisecond: "59 s", 65 * time.Second: "1 min 5 s", 2*time.Hour + 3*time.Minute: "2 h 3 min",
	} {
		if got := human(d); got != want {
			t.Errorf("%v is %q, want %q", d, got, want)
		}
	}
	for s, want := range map[float64]string{0: "0.0 %", 0.0004: "<0.1 %", 0.0042: "0.4 %", 1: "100.0 %"} {
		if got := percent(s); got != want {
			t.Errorf("%v is %q, want %q", s, got, want)
		}
	}
}

// A part or a status that this version does not know is shown all the same.
func TestReportLosesNoLink(t *testing.T) {
	var out strings.Builder
	newText(&out, false).Report(rtc.Report{Links: []rtc.Link{{Name: "new", Part: "later", Status: "odd"}}})
	if !strings.Contains(out.String(), "later") || !strings.Contains(out.String(), "odd       new") {
		t.Error(out.String())
	}
}

package view

import (
	"bytes"
	"errors"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

func pageOf(t *testing.T, reports ...rtc.Report) []byte {
	t.Helper()
	var out bytes.Buffer
	if err := HTML(&out, began.Add(time.Hour), reports); err != nil {
		t.Fatal(err)
	}
	return out.Bytes()
}

// tags are a page's elements, of each its name and attributes.
var tags = regexp.MustCompile(`<[a-zA-Z][^>]*>`)

// wantAlone wants a page that needs nothing besides itself and has no script.
func wantAlone(t *testing.T, page string) {
	t.Helper()
	if !strings.Contains(page, `content="default-src 'none'; style-src 'unsafe-inline'`) {
		t.Error("it has no content security policy")
	}
	if strings.Contains(page, "ZgotmplZ") {
		t.Error("the template put an unsafe value aside")
	}
	for _, tag := range tags.FindAllString(page, -1) {
		if regexp.MustCompile(`(?i)^<(script|img|iframe|object|embed|link |base|form)|\s(src|srcset|on\w+|action|style)=|href="[^#]|url\(`).MatchString(tag) {
			t.Errorf("it has %s", tag)
		}
	}
	if style := page[strings.Index(page, "<style>"):strings.Index(page, "</style>")]; strings.Contains(style, "url(") || strings.Contains(style, "@import") {
		t.Error("its style loads something")
	}
}

// Each anchor leads somewhere, and no id stands twice.
func wantWhole(t *testing.T, page string) {
	t.Helper()
	ids := map[string]int{}
	for _, m := range regexp.MustCompile(`\bid="([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]]++; ids[m[1]] > 1 {
			t.Errorf("the id %s stands twice", m[1])
		}
	}
	for _, m := range regexp.MustCompile(`(?:href="#|aria-labelledby=")([^"]*)"`).FindAllStringSubmatch(page, -1) {
		if ids[m[1]] == 0 {
			t.Errorf("nothing has the id %s", m[1])
		}
	}
	for _, name := range []string{"li", "ul", "ol", "section", "details", "summary", "svg", "span", "div", "table", "tbody", "tr", "td", "dl", "p", "a", "b"} {
		if open, closed := len(regexp.MustCompile(`<`+name+`[\s>]`).FindAllString(page, -1)), strings.Count(page, "</"+name+">"); open != closed {
			t.Errorf("%d of %s are opened and %d closed", open, name, closed)
		}
	}
}

func TestHTML(t *testing.T) {
	for name, reports := range map[string][]rtc.Report{"healthy": {healthyReport()}, "broken": {ailingReport()}, "sites": {healthyReport(), ailingReport(), reportWithoutMedia()}, "nothing": nil, "empty": {{}}} {
		t.Run(name, func(t *testing.T) {
			page := string(pageOf(t, reports...))
			wantAlone(t, page)
			wantWhole(t, page)
			for _, r := range reports {
				for _, l := range r.Links {
					if !strings.Contains(page, sentence(l.Name)) {
						t.Errorf("it lacks the link %s", l.Name)
					}
				}
			}
			if got, want := strings.Contains(page, "A call works"), name == "healthy" || name == "sites"; got != want {
				t.Errorf("it says that a call works: %v", got)
			}
		})
	}
	if err := HTML(full{}, began, nil); !errors.Is(err, errFull) {
		t.Error(err)
	}
}

// The path is whole up to the first failure, cut there and grey after it.
func TestHops(t *testing.T) {
	r := ailingReport()
	r.Links[12].Status = rtc.Failed // auth
	var got []string
	for _, h := range sitePageOf("x", r).Hops {
		got = append(got, h.Path+" "+h.Class+" "+h.Count)
	}
	want := []string{"whole good 5 of 5 ok", "whole good 4 of 4 ok", "whole good 3 of 3 ok", "cut bad 1 of 2 failed", "after good 2 of 2 ok", "after bad 2 of 3 failed", "after none not seen"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("%q", got)
	}
}

func TestSentence(t *testing.T) {
	for s, want := range map[string]string{
		"": "", "nothing": "Nothing", "open it; or not": "Open it; or not", "docker logs x": "docker logs x", "matrix_rtc.transports is empty": "matrix_rtc.transports is empty", "für alle": "für alle", "<b>x": "<b>x",
	} {
		if got := sentence(s); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
	for n, want := range map[int]string{0: "0", 999: "999", 1000: "1\u202f000", 1234567: "1\u202f234\u202f567", -100: "-100", -1000: "-1\u202f000"} {
		if got := grouping(n); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// harm is what a host could say to become part of a terminal, a page or metrics.
const harm = steers + "\"'><script>alert(1)</script><img src=x onerror=alert(1)>{{.}}\\\"} 1\nevil_metric{a=\"b\"} 2\n--></style></svg>\u2028" + "nowordhasanend"

// hostileReport has harm in every text, for each status that a link can have.
func hostileReport() rtc.Report {
	var r rtc.Report
	fill(reflect.ValueOf(&r).Elem())
	long := harm + strings.Repeat("x", 500)
	link, flow, words := r.Links[0], r.Flows[0], r.Explained[0]
	for _, s := range []*string{&r.Site, &r.From, &link.ID, &link.Name, (*string)(&link.Part), &link.From, (*string)(&link.Code), (*string)(&link.Side), &link.Evidence[0],
		&flow.Network, &flow.Kind, &flow.Pair, (*string)(&words.Code), &words.Element[0], &words.Sees, &words.Why, &words.Do, &words.Command} {
		*s = long
	}
	link.From += "elsewhere"
	r.Links = nil
	for _, s := range []rtc.Status{rtc.OK, rtc.Warning, rtc.Failed, rtc.NotSeen, rtc.Status(long)} {
		for _, p := range []rtc.Part{rtc.Media, rtc.Part(long)} {
			link.Status, link.Part = s, p
			r.Links = append(r.Links, link)
		}
	}
	r.Flows, r.Explained = []rtc.Flow{flow, flow}, []rtc.Explanation{words}
	r.Load = &rtc.Load{Participants: -1, Flows: -5, Expected: 1 << 60, WorstLoss: 7}
	return r
}

// Whatever stands in a report, it is text in every form of it.
func TestHostileReport(t *testing.T) {
	r := hostileReport()
	t.Run("text", func(t *testing.T) {
		var out strings.Builder
		newText(&out, false).Report(r)
		wantHarmless(t, "a report", out.String())
		if strings.HasPrefix(out.String(), "hint") || regexp.MustCompile(`(?m)^(evil|hint|  \[)`).MatchString(out.String()) {
			t.Error(out.String())
		}
		out.Reset()
		newText(&out, false).Explain(r.Explained)
		wantHarmless(t, "an explanation", out.String())
	})
	t.Run("JSON", func(t *testing.T) {
		var out strings.Builder
		if err := newJSON(&out).Report(r); err != nil {
			t.Fatal(err)
		}
		wantHarmless(t, "JSON", out.String())
	})
	t.Run("HTML", func(t *testing.T) {
		page := string(pageOf(t, r, r))
		wantAlone(t, page)
		wantWhole(t, page)
		if i := strings.IndexFunc(page, func(r rune) bool {
			return r != '\n' && r != '\t' && unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r)
		}); i >= 0 {
			t.Errorf("%q", page[i:i+20])
		}
		if !strings.Contains(page, "&lt;script&gt;alert(1)") {
			t.Error("it does not show what was said")
		}
	})
	t.Run("metrics", func(t *testing.T) {
		families := parseMetrics(t, r, r)
		for name := range families {
			if !strings.HasPrefix(name, "ecdeploy_verify_") {
				t.Errorf("a metric of somebody else: %s", name)
			}
		}
		if n := len(families["ecdeploy_verify_link_ok"].GetMetric()); n != 2 { // of each part one; those that failed win
			t.Errorf("%d series of links", n)
		}
		if v, ok := findValue(families, "link_ok", "link="+line(r.Links[0].ID)); !ok || v != 0 {
			t.Errorf("a label is not what was said: %v %v", v, ok)
		}
	})
}

package splice

import (
	"bufio"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/emdecloud/ecdeploy/internal/hosttest/ports"
)

// findCaddies are the programs that ECDEPLOY_CADDY names, separated by colons, or
// else the one of the PATH. What these tests say was seen with 2.6.2 and 2.11.9.
func findCaddies(t *testing.T) []string {
	t.Helper()
	if list := os.Getenv("ECDEPLOY_CADDY"); list != "" {
		return filepath.SplitList(list)
	}
	path, err := exec.LookPath("caddy")
	if err != nil {
		t.Skip("SKIPPED: what this package says of Caddy is not compared with a real one. Needs ECDEPLOY_CADDY=PATH of a caddy")
	}
	return []string{path}
}

func caddyCommand(t *testing.T, caddy string, args ...string) *exec.Cmd {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), caddy, args...)
	cmd.Env = []string{"HOME=" + t.TempDir()}
	return cmd
}

// adaptCaddy is the JSON that Caddy makes of a configuration, or "" where it
// refuses it.
func adaptCaddy(t *testing.T, caddy, dir, text string) string {
	t.Helper()
	file := filepath.Join(dir, "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := caddyCommand(t, caddy, "adapt", "--adapter", "caddyfile", "--config", file).Output()
	if err != nil {
		return ""
	}
	return string(out)
}

// A route of ours answers unless Obstacles says that something is in front, in
// every kind of site, and what is surely in front does answer instead.
func TestCaddyObstaclesAreReal(t *testing.T) {
	service := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Access-Control-Allow-Origin", "service")
		fmt.Fprint(w, "service "+r.URL.Path)
	}))
	defer service.Close()
	for _, caddy := range findCaddies(t) {
		cases := append(obstacleCases(), []struct{ body, want string }{
			{"respond / x\nhandle {\n\trespond x\n}\nhandle /livekit/* {\n\trespond x\n}\n@m path /livekit/sfu/rtc /a\nhandle @m {\n\trespond x\n}\n",
				"handle replaced true, handle replaced false"},
			{"root * /nowhere\nphp_fastcgi 127.0.0.1:1\n", ""},
			{"error 500\nhandle_errors {\n\trespond x\n}\n", ""},
		}...)
		var text strings.Builder
		port := ports.Free(t)
		text.WriteString("{\n\tadmin off\n\tauto_https off\n}\n")
		var known []int
		for i, c := range cases {
			host := fmt.Sprintf("rtc%d.example.org", i)
			r := CaddyRoute{Name: "sfu", Prefix: "/livekit/sfu", Upstream: service.Listener.Addr().String(), Quiet: true, Flush: true}
			ours, err := CaddySnippet(host, []CaddyRoute{r})
			if err != nil {
				t.Fatal(err)
			}
			// What matches all names below example.org matches these, too.
			site := fmt.Sprintf("http://%s:%d {\n%s%s}\n", host, port, ours, strings.Replace(c.body, " internal", "", 1))
			if adaptCaddy(t, caddy, t.TempDir(), site) != "" {
				known = append(known, i)
				text.WriteString(site)
			}
		}
		if len(known) < 30 {
			t.Errorf("%s takes %d sites of %d", caddy, len(known), len(cases))
		}
		runCaddy(t, caddy, text.String())
		for _, i := range known {
			c := cases[i]
			answer := askCaddy(t, port, fmt.Sprintf("rtc%d.example.org", i), "/LiveKit/sfu/rtc")
			reached := answer == "service /rtc"
			front, sure := strings.Contains(c.want, "in front") && !strings.Contains(c.body, "ccess-"), strings.Contains(c.want, "in front true")
			if !front && !reached || front && sure && reached && !strings.Contains(c.body, "try_files") && !strings.Contains(c.body, "uri strip") {
				t.Errorf("%s: %q: %q, but obstacles are %q", caddy, c.body, answer, c.want)
			}
		}
	}
}

// The site that SiteFor finds is the first one in Caddy's own list that
// matches.
func TestCaddySiteForIsReal(t *testing.T) {
	for _, caddy := range findCaddies(t) {
		asked := 0
		for _, addresses := range []string{
			"a.test|rtc.example.org", "*.example.org|rtc.example.org|:443", ":443|*.org|*.example.org", "*.*.org|:443", "rtc.example.org:8443|https://",
			"rtc.example.org, *.a.test|*.example.org", "*.example.org|x.test, rtc.example.org, *.b.test", "rtc.example.org/livekit/*|rtc.example.org",
			"http://rtc.example.org|*.example.org",
			"a.test, rtc.example.org, rtc.example.org:8448|rtc.example.org:80", "longer.name.example.net, *.example.org|rtc.example.org",
		} {
			var text strings.Builder
			for i, site := range strings.Split(addresses, "|") {
				fmt.Fprintf(&text, "%s {\n\trespond site%d\n}\n", site, i)
			}
			raw := adaptCaddy(t, caddy, t.TempDir(), text.String())
			if raw == "" {
				t.Fatalf("%s refuses %s", caddy, addresses)
			}
			c := readCaddy(t, caddySource(text.String()))
			i, doubt := c.SiteFor("rtc.example.org", "/livekit/sfu")
			got := ""
			if i >= 0 {
				got = fmt.Sprintf("site%d", i)
			}
			if want := firstCaddySite(t, raw, "rtc.example.org", "/livekit/sfu/"); doubt != "" || got != want {
				t.Errorf("%s: %s: %s, not %s; %s", caddy, addresses, got, want, doubt)
			}
			asked++
		}
		t.Logf("%s: %d lists of sites", caddy, asked)
	}
}

// firstCaddySite reads what Caddy made of sites that each respond with their
// names.
func firstCaddySite(t *testing.T, raw, host, path string) string {
	t.Helper()
	var config struct {
		Apps struct {
			HTTP struct {
				Servers map[string]struct {
					Listen []string
					Routes []struct {
						Match []struct {
							Host, Path []string
						}
						Handle json.RawMessage
					}
				}
			}
		}
	}
	if err := json.Unmarshal([]byte(raw), &config); err != nil {
		t.Fatal(err)
	}
	for _, s := range config.Apps.HTTP.Servers {
		if s.Listen[0] != ":443" {
			continue
		}
		for _, r := range s.Routes {
			matches := len(r.Match) == 0
			for _, m := range r.Match {
				hosts, paths := len(m.Host) == 0, len(m.Path) == 0
				for _, h := range m.Host {
					hosts = hosts || CaddyAddress{Host: h}.matchHost(host)
				}
				for _, p := range m.Path {
					paths = paths || strings.HasPrefix(path, strings.TrimSuffix(p, "*"))
				}
				matches = matches || hosts && paths
			}
			if _, name, ok := strings.Cut(string(r.Handle), `"body":"`); ok && matches {
				return name[:strings.IndexByte(name, '"')]
			}
		}
	}
	return ""
}

// To Caddy, too, a site with our line is as before while our file is empty, and
// what we write is right.
func TestCaddyEditsAreReal(t *testing.T) {
	before, err := os.ReadFile("testdata/caddy-matrix.caddyfile")
	if err != nil {
		t.Fatal(err)
	}
	for _, caddy := range findCaddies(t) {
		dir := t.TempDir() // Caddy writes its path into the JSON
		ours := filepath.Join(dir, "ours")
		if err := os.WriteFile(ours, []byte("# empty\n"), 0o600); err != nil {
			t.Fatal(err)
		}
		text := string(before)
		if adaptCaddy(t, caddy, dir, text) == "" {
			start, end := strings.Index(text, "<<JSON"), strings.Index(text, "JSON 200") // heredocs came with 2.7
			text = text[:start] + "x" + text[end+len("JSON"):]
		}
		want := adaptCaddy(t, caddy, dir, text)
		_, edits, err := CaddyImport(caddySource(text), "matrix.example.org", "/livekit/sfu", ours)
		if err != nil {
			t.Fatal(err)
		}
		after, err := Apply([]byte(text), edits)
		if got := adaptCaddy(t, caddy, dir, string(after)); err != nil || got != want || want == "" {
			t.Errorf("%s: %v, %d bytes of JSON, and %d before", caddy, err, len(got), len(want))
		}
		r := CaddyRoute{Name: "jwt", Upstream: "127.0.0.1:8080", Set: [][2]string{{"Access-Control-Allow-Origin", "*"}}}
		site, err := CaddySite("new.example.org", []string{"internal"}, []CaddyRoute{r})
		if err != nil || adaptCaddy(t, caddy, dir, text+site) == "" {
			t.Errorf("%s refuses %s: %v", caddy, site, err)
		}
	}
}

// runCaddy starts Caddy and waits until it serves. stop ends it and waits for
// that.
func runCaddy(t *testing.T, caddy, text string) (stop func()) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := caddyCommand(t, caddy, "run", "--adapter", "caddyfile", "--config", file)
	out, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	served := make(chan string, 1)
	go func() {
		last := ""
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if last = lines.Text(); strings.Contains(last, "serving initial configuration") {
				served <- ""
			}
		}
		served <- last
		close(served)
	}()
	stop = sync.OnceFunc(func() {
		_ = cmd.Process.Signal(os.Interrupt)
		for range served {
		}
		_ = cmd.Wait()
	})
	t.Cleanup(stop)
	if last := <-served; last != "" {
		t.Fatalf("%s: %s", caddy, last)
	}
	return stop
}

func askCaddy(t *testing.T, port int, host, path string) string {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, fmt.Sprintf("http://127.0.0.1:%d%s", port, path), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Host = host
	resp, err := http.DefaultTransport.RoundTrip(req)
	if err != nil {
		return err.Error()
	}
	defer resp.Body.Close()
	body := bufio.NewScanner(resp.Body)
	body.Scan()
	if resp.StatusCode != http.StatusOK {
		return fmt.Sprint(resp.StatusCode)
	}
	return body.Text()
}

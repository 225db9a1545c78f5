package view

import (
	"bytes"
	"context"
	"fmt"
	"html"
	"image"
	"image/png"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/emdecloud/ecdeploy/internal/rtc"
)

// chromium is the browser; the test is skipped where nobody asked for it, and
// fails where somebody did and there is none.
func chromium(t *testing.T) string {
	t.Helper()
	if os.Getenv("ECDEPLOY_BROWSER") == "" {
		t.Skip("ECDEPLOY_BROWSER is not set: no browser is asked for")
	}
	const path = "/usr/bin/chromium"
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("ECDEPLOY_BROWSER is set, and there is no browser: %v", err)
	}
	return path
}

// browse opens a file in the browser and returns what it prints.
func browse(t *testing.T, file string, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	profile, err := os.MkdirTemp("", "ecdeploy-browser-")
	if err != nil {
		t.Fatal(err)
	}
	// A helper of the browser may outlive it for a moment and write there, which
	// says nothing of the page.
	defer func() { _ = os.RemoveAll(profile) }()
	args = append([]string{"--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
		"--disable-component-update", "--disable-sync", "--hide-scrollbars", "--user-data-dir=" + profile, "--window-size=1200,1600"}, args...)
	cmd := exec.CommandContext(ctx, chromium(t), append(args, "file://"+file)...)
	var complaints bytes.Buffer
	cmd.Stderr = &complaints
	cmd.WaitDelay = time.Second
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("chromium: %v\n%s", err, &complaints)
	}
	return string(out)
}

func pageFile(t *testing.T, reports ...rtc.Report) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "report.html")
	if err := os.WriteFile(path, pageOf(t, reports...), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func takeScreenshot(t *testing.T, file string, args ...string) image.Image {
	t.Helper()
	path := filepath.Join(t.TempDir(), "page.png")
	browse(t, file, append(args, "--screenshot="+path)...)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	img, err := png.Decode(f)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// countAreas counts an image's pixels that are clearly green, clearly red, and dark.
func countAreas(img image.Image) (green, red, dark, all int) {
	b := img.Bounds()
	for y := b.Min.Y; y < b.Max.Y; y++ {
		for x := b.Min.X; x < b.Max.X; x++ {
			r, g, b, _ := img.At(x, y).RGBA()
			r, g, b = r>>8, g>>8, b>>8
			all++
			if g > r+50 && g > b+20 {
				green++
			}
			if r > g+80 && r > b+80 {
				red++
			}
			if r+g+b < 150 {
				dark++
			}
		}
	}
	return green, red, dark, all
}

func TestReportInBrowser(t *testing.T) {
	chromium(t)
	t.Run("healthy", func(t *testing.T) {
		file := pageFile(t, healthyReport())
		green, red, dark, all := countAreas(takeScreenshot(t, file))
		if green < 2000 || red > 100 || dark > all/4 {
			t.Errorf("of %d pixels %d are green, %d red and %d dark", all, green, red, dark)
		}
		_, _, dark, all = countAreas(takeScreenshot(t, file, "--force-dark-mode"))
		if dark < all/2 {
			t.Errorf("in dark mode %d of %d pixels are dark", dark, all)
		}
	})
	t.Run("broken", func(t *testing.T) {
		file := pageFile(t, ailingReport())
		if green, red, _, all := countAreas(takeScreenshot(t, file)); green < 2000 || red < 2000 {
			t.Errorf("of %d pixels %d are green and %d red", all, green, red)
		}
		dom := browse(t, file, "--dump-dom")
		for _, want := range []string{"<h1 id=\"site-1-name\">emdecloud.de</h1>", "Broken at media over UDP", "the path of a call is broken here", "<code class=\"command\">ecdeploy apply FILE</code>", "0 of 500"} {
			if !strings.Contains(dom, want) {
				t.Errorf("the page does not have %q", want)
			}
		}
		if n := strings.Count(dom, "<li class=\"hop "); n != len(rtc.Parts()) {
			t.Errorf("%d hops", n)
		}
		if n := strings.Count(dom, "<details open=\"\">"); n != 3 {
			t.Errorf("%d links are open, want the 3 that are not ok", n)
		}
	})
}

// measure puts pages into frames of some widths, and has how far each can be
// scrolled sideways. The script stands outside of the page, which has none.
const measure = `<!DOCTYPE html><body><script>
onload = () => { document.body.dataset.found = [...document.querySelectorAll("iframe")].map(f => {
  const d = f.contentDocument;
  return f.width + ":" + d.documentElement.scrollWidth + ":" + d.scripts.length + ":" + d.querySelectorAll("img, b b, [onerror]").length;
}).join(" "); };
</script>%s</body>`

// No width and no text makes a page scroll sideways, and what hosts say is text
// in it, never an element.
func TestReportFitsInBrowser(t *testing.T) {
	chromium(t)
	for name, page := range map[string][]byte{
		"sites": pageOf(t, healthyReport(), ailingReport(), reportWithoutMedia()), "hostile": pageOf(t, hostileReport(), hostileReport()), "nothing": pageOf(t),
	} {
		t.Run(name, func(t *testing.T) {
			widths := []int{320, 400, 740, 900, 1200}
			var frames strings.Builder
			for _, w := range widths {
				fmt.Fprintf(&frames, `<iframe width="%d" height="800" style="border:0" srcdoc="%s"></iframe>`, w, html.EscapeString(string(page)))
			}
			path := filepath.Join(t.TempDir(), "frames.html")
			if err := os.WriteFile(path, fmt.Appendf(nil, measure, &frames), 0o600); err != nil {
				t.Fatal(err)
			}
			found := regexp.MustCompile(`data-found="([^"]*)"`).FindStringSubmatch(browse(t, path, "--dump-dom"))
			if found == nil {
				t.Fatal("nothing was measured")
			}
			var want []string
			for _, w := range widths {
				want = append(want, fmt.Sprintf("%d:%d:0:0", w, w))
			}
			if found[1] != strings.Join(want, " ") {
				t.Errorf("width:needed:scripts:elements of others: %s", found[1])
			}
		})
	}
}

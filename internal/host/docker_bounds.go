package host

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
)

// What an engine may say at once, in bytes. An answer is as a rule some KiB; a
// message of its progress is less than one.
const (
	maxEngineAnswer = 16 << 20
	maxMessage      = 1 << 20
)

var errTooLarge = errors.New("the engine's answer is too large")

// bounded keeps the engine's answers from filling the laptop's memory: Docker's
// client reads them whole. Those that are progress are bounded by messages.
type bounded struct{ http.RoundTripper }

func (b bounded) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := b.RoundTripper.RoundTrip(req)
	if err == nil && !strings.HasSuffix(req.URL.Path, "/images/create") && !strings.HasSuffix(req.URL.Path, "/images/load") {
		resp.Body = &boundedBody{resp.Body, maxEngineAnswer}
	}
	return resp, err
}

type boundedBody struct {
	io.ReadCloser
	left int
}

func (b *boundedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if b.left -= n; b.left < 0 {
		return 0, errTooLarge
	}
	return n, err
}

// messages reads the engine's progress to its end; a failure comes as one of
// its messages.
func messages(r io.Reader, progress func(string)) error {
	limited := &io.LimitedReader{R: r}
	d := json.NewDecoder(limited)
	last := ""
	for {
		limited.N = maxMessage
		var m struct {
			ID     string `json:"id"`
			Status string `json:"status"`
			Error  string `json:"error"`
		}
		switch err := d.Decode(&m); {
		case err != nil && limited.N == 0:
			return fmt.Errorf("read the engine's progress: %w", errTooLarge)
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return fmt.Errorf("read the engine's progress: %w", remoteError{err})
		case m.Error != "":
			return remoteError{errors.New(m.Error)}
		}
		line := strings.TrimSpace(m.ID + " " + m.Status)
		if progress != nil && line != last && line != "" {
			progress(Clean(line))
			last = line
		}
	}
}

// demultiplex takes the frames of the engine's logs apart: eight bytes, of which
// the last four are the length of what follows (Docker Engine API,
// ContainerAttach, "Stream format"). Docker's own function makes room for
// whatever length is announced, 4 GiB and more.
func demultiplex(r io.Reader) (string, error) {
	var out bytes.Buffer
	for {
		var head [8]byte
		switch _, err := io.ReadFull(r, head[:]); {
		case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
			return out.String(), nil
		case err != nil:
			return "", err
		case head[0] > 2:
			return "", fmt.Errorf("the engine sends a stream of kind %d", head[0])
		}
		_, err := io.CopyN(&out, r, int64(binary.BigEndian.Uint32(head[4:])))
		if err != nil && !errors.Is(err, io.EOF) {
			return "", err
		}
	}
}

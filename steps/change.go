package steps

import (
	"context"
	"encoding/json"
	"fmt"
	"io/fs"
	"time"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Root is where ecdeploy keeps on a host what it remembers of its runs.
const Root = "/var/lib/ecdeploy"

// Change is one reversible mutation of one host. It is plain data that
// survives a JSON round trip (MarshalChange, UnmarshalChange) and holds no
// secret, only references to them.
type Change interface {
	// Kind names the concrete type: "files", "container", "image" or "exec".
	Kind() string
	// Summary is what a plan shows.
	Summary() Summary
	// Resolve fills in secrets and reads the bytes that the change edits.
	// Nothing is decided here: a host that differs from what the change was
	// made on is ErrDrift.
	Resolve(ctx context.Context, env Env) (Resolved, error)
}

// Env is what Resolve may use.
type Env struct {
	Host    host.Observer
	Run     string  // id of the run
	Secrets Secrets // the site's
	Change  string  // the change's folder in the run's, as its name
}

// Resolved is a change ready to be executed: POSIX sh for the host and, where
// containers move, a function that speaks with the engine. The sh texts may
// use the functions of Lib; J is the change's folder in the journal and R the
// run's. All but Act may run more than once.
type Resolved struct {
	Stage    []StagedFile                             // uploaded into J before anything changes
	Check    string                                   // looks at what was staged and fails if it is not good
	Save     string                                   // writes before-images into J
	Do       string                                   // the mutation
	Activate string                                   // makes it effective: a reload, a restart
	Act      func(context.Context, host.Docker) error // what only the engine's API does, after Do; may be nil
	Undo     string                                   // right after full, partial or no Do and Act
	Timeout  time.Duration                            // of Do with Activate, and of Check where it is long; 0 is host.DefaultTimeout
	// Ledger is what the change does to the ledger of its host.
	Ledger LedgerMoves
	// Prepare brings what is kept on a rollback (an image), before the run is
	// armed; then all other fields but Stage are empty.
	Prepare func(ctx context.Context, h host.Host, progress func(string)) error
}

// StagedFile is a file in the change's folder of the journal.
type StagedFile struct {
	Name string // relative to J, no slash
	Mode fs.FileMode
	Data []byte
}

// Summary is how a plan shows a change.
type Summary struct {
	Verb      string   `json:"verb"`                // "+", "~" or "-"
	Title     string   `json:"title"`               // "container livekit-sfu"
	Details   []string `json:"details,omitempty"`   // one line each, secrets masked
	Diff      string   `json:"diff,omitempty"`      // unified, secrets masked, no context of foreign files
	Interrupt string   `json:"interrupt,omitempty"` // what stops for how long: "Synapse restarts"
}

// ErrDrift says that a host is not as it was when the plan was made. The
// caller plans again.
var ErrDrift = fmt.Errorf("the host changed since the plan was made")

type envelope struct {
	Kind   string          `json:"kind"`
	Change json.RawMessage `json:"change"`
}

// MarshalChange writes c with its kind.
func MarshalChange(c Change) ([]byte, error) {
	b, err := json.Marshal(c)
	if err != nil {
		return nil, fmt.Errorf("encode %s: %w", c.Kind(), err)
	}
	return json.Marshal(envelope{c.Kind(), b})
}

// UnmarshalChange reads what MarshalChange wrote.
func UnmarshalChange(b []byte) (Change, error) {
	var e envelope
	if err := json.Unmarshal(b, &e); err != nil {
		return nil, fmt.Errorf("decode change: %w", err)
	}
	var c Change
	switch e.Kind {
	case Files{}.Kind():
		c = &Files{}
	case Container{}.Kind():
		c = &Container{}
	case Image{}.Kind():
		c = &Image{}
	case Exec{}.Kind():
		c = &Exec{}
	default:
		return nil, fmt.Errorf("decode change: unknown kind %q", e.Kind)
	}
	if err := json.Unmarshal(e.Change, c); err != nil {
		return nil, fmt.Errorf("decode %s: %w", e.Kind, err)
	}
	return c, nil
}

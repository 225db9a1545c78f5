package engine

import (
	"time"

	"github.com/emdecloud/ecdeploy/steps"
)

// Event is something that a person who watches a run wants to know.
type Event interface{ event() }

// Sink takes events, from several goroutines, in the order in which things
// happened on each host.
type Sink func(Event)

// PhaseStarted says what a site's run does now: "lock", "images", "stage",
// "arm", a stage's name, "verify", "confirm", "commit", "rollback".
type PhaseStarted struct {
	Site  string `json:"site"`
	Phase string `json:"phase"`
}

// Progress says what a host does or waits for.
type Progress struct {
	Site string `json:"site"`
	Host string `json:"host"`
	Text string `json:"text"`
}

// Changed says that one change was made, or why it was not.
type Changed struct {
	Site    string        `json:"site"`
	Host    string        `json:"host"`
	Step    string        `json:"step"`
	Summary steps.Summary `json:"summary"`
	Took    time.Duration `json:"took"`
	Err     string        `json:"error,omitempty"`
}

// Checked says how a check ended.
type Checked struct {
	Site string        `json:"site"`
	Host string        `json:"host"`
	Name string        `json:"name"`
	Took time.Duration `json:"took"`
	Err  string        `json:"error,omitempty"`
}

// RolledBack says how a host's rollback ended.
type RolledBack struct {
	Site      string   `json:"site"`
	Host      string   `json:"host"`
	Report    []string `json:"report,omitempty"` // what was undone, one line each
	Conflicts bool     `json:"conflicts,omitempty"`
	Err       string   `json:"error,omitempty"`   // why it is not complete
	Command   string   `json:"command,omitempty"` // what finishes it, on the host
	// Audit is the last line of the host's audit log after it; zero where it is
	// not known. Cut says that the log does not go on from what the laptop saw.
	Audit AuditHead `json:"audit,omitzero"`
	Cut   bool      `json:"cut,omitempty"`
}

// Committed says that a host's run is final.
type Committed struct {
	Site string `json:"site"`
	Host string `json:"host"`
	Run  string `json:"run"`
	// Audit and Cut are as in RolledBack.
	Audit AuditHead `json:"audit,omitzero"`
	Cut   bool      `json:"cut,omitempty"`
}

// Calls says who is on a LiveKit that the run is about to restart or to end.
type Calls struct {
	Site   string `json:"site"`
	Host   string `json:"host"`
	Rooms  int    `json:"rooms"` // those with somebody in them: calls
	People int    `json:"people"`
	Ends   bool   `json:"ends,omitempty"`  // LiveKit does not come again
	Err    string `json:"error,omitempty"` // why neither is known
}

// Warned says what a person should know of a run that goes on.
type Warned struct {
	Site string `json:"site"`
	Host string `json:"host,omitempty"` // who saw it; "laptop" for none of the hosts
	Text string `json:"text"`           // may have several lines
}

func (PhaseStarted) event() {}
func (Warned) event()       {}
func (Progress) event()     {}
func (Changed) event()      {}
func (Checked) event()      {}
func (RolledBack) event()   {}
func (Committed) event()    {}
func (Calls) event()        {}

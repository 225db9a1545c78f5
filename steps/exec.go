package steps

import "context"

// Exec is a change that a command makes and another one undoes: a firewall
// rule. DoText is only planned where its effect was not there before.
type Exec struct {
	Verb      string `json:"verb"`
	Title     string `json:"title"`
	CheckText string `json:"check,omitempty"` // sh; fails where DoText would, and changes nothing
	SaveText  string `json:"save,omitempty"`
	DoText    string `json:"do"`
	UndoText  string `json:"undo"`
	Effects
}

// Kind implements Change.
func (Exec) Kind() string { return "exec" }

// Summary implements Change.
func (c Exec) Summary() Summary { return Summary{Verb: c.Verb, Title: c.Title} }

// Resolve implements Change.
func (c Exec) Resolve(context.Context, Env) (Resolved, error) {
	return Resolved{Check: c.CheckText, Save: c.SaveText, Do: c.DoText, Undo: c.UndoText, Ledger: c.moves()}, nil
}

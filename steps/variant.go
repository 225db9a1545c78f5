package steps

import (
	"context"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Variant is one way in which a concern is met: a proxy, a firewall, an SFU. It is
// the only thing that a list of what is supported holds.
type Variant struct {
	Block string // the block of the plan file that it is a variant of: "proxy"
	Label string // that block's label; "" for a block without one
	// Doc says in one line what is supported, for the table of variants.
	Doc string
	// Example is the block as one writes it, with host.NAME where a host goes.
	Example string
	// WayOut is the advice to use this variant where none fits; "" for a variant
	// that leaves nothing to its owner.
	WayOut string
	Scope  Scope
	// Required blocks are in every site; Several may be there more than once.
	Required, Several bool
	// Implied variants need no block: they are part of every site, or of every
	// host that has no such block.
	Implied bool
	// Config is a new config with its defaults, a pointer to a struct whose hcl
	// tags name the block's attributes.
	Config func() Config
	// Effects are what it makes in a program's own state, or knows again as its own by
	// a mark where the ledger was lost; nil for neither.
	Effects *EffectKind
	// Detect looks for what the variant stands for. Nothing found is no error.
	Detect func(context.Context, host.Observer) ([]Found, error)
}

// EffectKind is a kind of effects.
type EffectKind struct {
	Word  string // with which their names in the ledger begin
	Stage Stage  // in which they are made
	// Step brings about what a site needs on the step's host, and takes away what it
	// does not need: of a site without parts there, all.
	Step func(*Site) Step
}

// Scope is which block of the plan file a variant's block stands in.
type Scope int

// A site's components stand in its block, a host's firewall in the host's.
const (
	InSite Scope = iota
	InHost
)

// Config is what a plan file says in one block.
type Config interface {
	// HostName is the host block that the config names; "" where it names none.
	HostName() string
	// Parts are what the block brings to its site, told from the block alone.
	Parts(Decl) []Part
	// Check notes what is wrong with the block, once all parts of the site are known.
	Check(Block, Decl, *Site)
	// Steps are the steps that bring it about, each on its host.
	Steps(Decl, *Site) []Placed
}

// Decl is where a config stands.
type Decl struct {
	Site  string // Matrix server name
	Host  string // the host it is for: the one that it names, the one in whose block it stands, or the site's home
	Parts []Part // its own; none while they are asked for
}

// Placed is a step in its stage on its host.
type Placed struct {
	Stage Stage
	Host  string
	Step  Step
	// Closing steps come after the others of their stage.
	Closing bool
}

// Found is what a variant is on a host, as Detect saw it.
type Found struct {
	Config Config
	Why    string // what showed it, for a person
	Sure   bool   // false where something else may be meant
}

// Block is a block's place in the plan file, for who checks it. Paths lead to
// blocks within, attrs name attributes; a path that is not written is empty.
type Block interface {
	// At is a block within this one.
	At(path ...string) Block
	// Given reports whether the plan file sets the attribute.
	Given(attr string) bool
	// Known reports whether the values of all attrs, or their defaults, can be
	// judged: not where they come from outside and are not there yet.
	Known(attrs ...string) bool
	// Wrong notes a mistake at an attribute, "" for the block itself: what is
	// wrong, and what to write instead.
	Wrong(attr, what, fix string)
	// Doubtful notes something that works and is likely not meant.
	Doubtful(attr, what, fix string)
}

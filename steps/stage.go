package steps

// Stage is a part of a run: all hosts of a site finish one before any begins
// the next.
type Stage string

// The stages, in their order: nothing is announced to clients before what is
// announced has been seen to work.
const (
	StagePreflight  Stage = "preflight"
	StageHost       Stage = "host" // ports and firewall
	StageSFU        Stage = "sfu"
	StageAuth       Stage = "auth"
	StageProxy      Stage = "proxy"
	StageHomeserver Stage = "synapse"
	StageWellKnown  Stage = "well-known"
	// StageRemoval comes after the last proof: what nothing needs any more goes.
	StageRemoval Stage = "removal"
)

// Stages lists all stages in their order.
func Stages() []Stage {
	return []Stage{StagePreflight, StageHost, StageSFU, StageAuth, StageProxy, StageHomeserver, StageWellKnown, StageRemoval}
}

// Announces reports whether clients learn of the backend by what the stage changes.
func (s Stage) Announces() bool { return s == StageHomeserver || s == StageWellKnown }

// TakesTokens reports whether the stage changes what accepts the site's
// credentials: in a rotation it accepts old and new ones, so it is committed first
// and rolled back last.
func (s Stage) TakesTokens() bool { return s == StageSFU }

package credentials

import (
	"strings"

	"github.com/emdecloud/ecdeploy/internal/host"
	"github.com/emdecloud/ecdeploy/internal/livekit"
	"github.com/emdecloud/ecdeploy/steps"
)

// File is LiveKit's key file: "KEY: SECRET", and in a second line the old
// pair, where there is one.
func File(keys livekit.Keys) steps.Text {
	t := steps.Text{{Ref: livekit.RefKey}, {Lit: ": "}, {Ref: livekit.RefSecret}, {Lit: "\n"}}
	if !keys.Old.IsZero() {
		t = append(t, steps.Piece{Ref: livekit.RefOldKey}, steps.Piece{Lit: ": "}, steps.Piece{Ref: livekit.RefOldSecret}, steps.Piece{Lit: "\n"})
	}
	return t
}

// PairOf is the pair in the JWT service's two files.
func PairOf(key, secret host.File) livekit.Pair {
	return livekit.PlainPair(strings.TrimSpace(string(key.Data)), strings.TrimSpace(string(secret.Data)))
}

// Why says what becomes of the credentials that a component holds; nothing
// where they stay.
func Why(held, keys livekit.Keys) []string {
	switch {
	case keys.IsZero():
		return []string{"credentials: LIVEKIT_KEY and LIVEKIT_SECRET are made new"}
	case held.IsZero():
		return nil
	case held.Pair() != keys.Pair():
		return []string{"credentials: LIVEKIT_KEY and LIVEKIT_SECRET change"}
	case !held.Old.IsZero() && keys.Old.IsZero():
		return []string{"credentials: the old LIVEKIT_KEY goes"}
	}
	return nil
}

// Findings says what the credentials mean for people on calls. Tokens of the
// JWT service are valid for an hour; but LiveKit renews those of people on calls
// every five minutes, with any one of its keys (livekit v1.13.5,
// pkg/service/roommanager.go, getFirstKeyPair), so that some have one of the old
// key for as long as LiveKit has it.
func Findings(held, keys livekit.Keys) []steps.Finding {
	switch {
	case !keys.Old.IsZero():
		return []steps.Finding{steps.Note.Finding("LiveKit accepts the old LIVEKIT_KEY, too, so that tokens made with it stay valid",
			"an hour later, while nobody is on a call: ecdeploy secrets rotate --finish, which restarts LiveKit once more")}
	case held.IsZero():
		return nil
	case held.Pair() != keys.Pair():
		return []steps.Finding{steps.Warning.Finding("LIVEKIT_KEY and LIVEKIT_SECRET change at once: all tokens made before "+
			"are refused, and people on calls have to join again",
			"with overlap: ecdeploy secrets rotate")}
	case !held.Old.IsZero():
		return []steps.Finding{steps.Warning.Finding("tokens made with the old LIVEKIT_KEY are refused, "+
			"and people on calls may have to join again: LiveKit has renewed their tokens with any one of its keys",
			"do this while nobody is on a call")}
	}
	return nil
}

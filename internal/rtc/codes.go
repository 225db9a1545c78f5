package rtc

import (
	"slices"
	"strings"
)

// Code names one cause, the same in every report.
type Code string

// Explanation has words for a code.
type Explanation struct {
	Code    Code     `json:"code"`
	Element []string `json:"element,omitempty"` // what Element shows, its own error codes among it
	Sees    string   `json:"sees"`              // what a person sees
	Why     string   `json:"why"`
	Do      string   `json:"do"`
	Command string   `json:"command,omitempty"` // where ecdeploy can do it
}

const apply = "ecdeploy apply FILE"

// What Element shows; the codes in capitals are Element Call's (element-hq/element-call
// src/utils/errors.ts, v0.24).
const (
	noTransport = "MISSING_MATRIX_RTC_TRANSPORT"
	noFocus     = "MISSING_MATRIX_RTC_FOCUS" // its name before
	openIDError = "OPEN_ID_ERROR"
	sfuError    = "SFU_ERROR"
	noAuth      = "NO_MATRIX_2_0_AUTHORIZATION_SERVICE"
	lost        = "CONNECTION_LOST_ERROR"
	members     = "INTERNAL_MEMBERSHIP_MANAGER"
	capacity    = "INSUFFICIENT_CAPACITY_ERROR"
	waiting     = "Waiting for media"
	eighteen    = "calls end after 18 s"
)

var (
	noCall   = []string{noTransport, noFocus}
	noToken  = []string{openIDError}
	noMedia  = []string{waiting, sfuError}
	noSFU    = []string{sfuError}
	dropping = []string{eighteen, members}
)

// explanations are in the order of a call. Whatever is listed here is what a report
// may say; a test holds that each code in use has its words.
var explanations = slices.Concat(
	hostCodes,
	nameCodes,
	homeserverCodes,
	authCodes,
	sfuCodes,
	mediaCodes,
	userCodes,
)

func explanation(c Code) (Explanation, bool) {
	for _, e := range explanations {
		if e.Code == c {
			return e, true
		}
	}
	return Explanation{}, false
}

// Explain are the explanations of a code of ours, or of all that can be behind
// what Element shows: one of its codes, or words like "Waiting for media". Case,
// and what is around the words, do not matter.
func Explain(what string) []Explanation {
	plain := func(s string) string {
		return strings.Join(strings.FieldsFunc(strings.ToLower(s), func(r rune) bool { return (r < 'a' || r > 'z') && (r < '0' || r > '9') }), " ")
	}
	asked := plain(what)
	if asked == "" {
		return nil
	}
	var out []Explanation
	for _, e := range explanations {
		if plain(string(e.Code)) == asked {
			return []Explanation{e}
		}
		for _, shown := range e.Element {
			if s := plain(shown); s == asked || strings.Contains(asked, s) || len(asked) >= 6 && strings.Contains(s, asked) {
				out = append(out, e)
				break
			}
		}
	}
	return out
}

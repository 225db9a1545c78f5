package livekit

import "strings"

// ParseKeyFile reads LiveKit's key file as ecdeploy writes it: a line
// "KEY: SECRET" and, where there is an old pair, a second one. Comments and empty
// lines that a person added are fine. The answer is zero where the file is
// anything else, also where LiveKit, which reads all of YAML, would understand it
// (Unread).
func ParseKeyFile(data []byte) Keys {
	var pairs []Pair
	for line := range strings.Lines(string(data)) {
		if line = strings.TrimSpace(line); isComment(line) {
			continue
		}
		k, s, _ := strings.Cut(line, ": ")
		p := PlainPair(k, s)
		if p.IsZero() {
			return Keys{}
		}
		pairs = append(pairs, p)
	}
	switch {
	case len(pairs) == 1:
		return Keys{Key: pairs[0].Key, Secret: pairs[0].Secret}
	case len(pairs) == 2 && pairs[0].Key != pairs[1].Key:
		return Keys{Key: pairs[0].Key, Secret: pairs[0].Secret, Old: pairs[1]}
	}
	return Keys{}
}

// Unread reports whether a key file holds something that ParseKeyFile does not
// understand: LiveKit may accept pairs that are not known.
func Unread(data []byte) bool {
	if !ParseKeyFile(data).IsZero() {
		return false
	}
	for line := range strings.Lines(string(data)) {
		if !isComment(strings.TrimSpace(line)) {
			return true
		}
	}
	return false
}

// isComment reports whether a line, without the white space around it, says
// nothing to LiveKit.
func isComment(line string) bool { return line == "" || strings.HasPrefix(line, "#") }

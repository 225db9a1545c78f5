// Package rtc proves a call: from the laptop, the way a client goes, over every
// link from the names to media that arrives. It looks at a site that somebody
// deployed and changes nothing but what it takes away again: a room of its own
// on LiveKit and, where it is allowed to, a helper on the SFU's host.
//
// It knows nothing of plans, of runs and of terminals: a Target says what to look
// at, and a Report what was seen.
package rtc

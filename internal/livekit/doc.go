// Package livekit is what a program has to know in order to talk to a LiveKit
// server: its credentials and the file that holds them, its tokens, and its room
// service. It knows nothing of plans, steps or containers: an http.Client decides
// from where it asks and whom it trusts.
package livekit

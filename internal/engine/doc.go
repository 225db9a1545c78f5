// Package engine carries a plan out: lock, stage, arm, apply, check, confirm,
// commit, or roll back. It keeps the crash contract: every mutation is in a
// journal on the host, with its undo, before it happens. What was done is in the
// host's audit log, which it writes, reads and checks.
//
// It knows hosts, steps and plans; it never writes to a terminal but emits
// events.
package engine

// Package steps looks at hosts and decides what to change on them.
//
// A step probes one concern of one host and yields changes. A change is plain
// data: the plan prints it, the journal on the host stores its undo, and the
// engine executes it. Steps never change a host and never talk to a person.
//
// To add a proxy, a firewall or another variant, write one package (or a file in the
// package of its kind) with a config struct, a probe, a pure diff and the steps that
// remove it again, and list it in steps/all.
package steps

// Package steps looks at hosts and decides what to change on them.
//
// A step probes one concern of one host and yields changes. A change is plain
// data: the plan prints it, the journal on the host stores its undo, and the
// engine executes it. Steps never change a host and never talk to a person.
//
// To add a proxy, a firewall or another variant, write one file with a config
// struct, a probe and a pure diff, and list it in registry.go; remove.go says how
// it is taken away again.
package steps

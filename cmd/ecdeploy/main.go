// Command ecdeploy brings Element Call to Matrix homeservers over SSH. See
// README.md.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"runtime/debug"
	"slices"
	"strings"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/emdecloud/ecdeploy/internal/engine"
	"github.com/emdecloud/ecdeploy/internal/view"
)

// release may be set by a build: -ldflags "-X main.release=v1.2.3".
var release string

// version is the release, else what Go knows of the build: the module's version
// after `go install ...@VERSION`, the commit after a build in a checkout.
var version = versionOf(release)

func versionOf(release string) string {
	if release != "" {
		return release
	}
	if b, ok := debug.ReadBuildInfo(); ok && b.Main.Version != "" && b.Main.Version != "(devel)" {
		return b.Main.Version
	}
	return "dev"
}

// The exit codes, which README lists.
const (
	exitOK         = 0 // done, or nothing to do
	exitError      = 1 // error; nothing was changed
	exitChanges    = 2 // plan -detailed-exitcode: there are changes; status: drift
	exitRolledBack = 3 // failed; every host of the site is as before the run, sites applied earlier stay applied
	exitInDoubt    = 4 // failed; a rollback is not complete, or somebody else edited meanwhile
	exitUnhealthy  = 5 // status: a check failed; verify: a link is broken; audit: a log is not intact
)

// exitCode is an error that only says how to exit; what happened was shown.
type exitCode int

func (e exitCode) Error() string { return fmt.Sprintf("exit status %d", int(e)) }

func main() { os.Exit(run(os.Args[1:])) }

// run is main without the exit, so that tests can call it.
func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	screen := view.NewScreen(os.Stdin, os.Stdout, os.Stderr)
	root := newRoot(screen)
	root.SetArgs(longFlags(root, args))
	return ended(root.ExecuteContext(ctx), screen)
}

// ended shows how a command ended and is its exit code.
func ended(err error, screen *view.Screen) int {
	if err == nil {
		return exitOK
	}
	code := codeOf(err)
	if _, silent := errors.AsType[exitCode](err); !silent {
		screen.Fail(err, code)
	}
	_, partly := errors.AsType[partlyApplied](err)
	_, recovered := errors.AsType[recoveredError](err)
	switch {
	case partly:
		screen.Say("what was done to the other sites stays")
	case recovered && !errors.Is(err, engine.ErrInDoubt):
		screen.Say("the interrupted run was rolled back; nothing else was changed")
	}
	return code
}

// codeOf is the exit code of a command that ended with err.
func codeOf(err error) int {
	_, partly := errors.AsType[partlyApplied](err)
	_, recovered := errors.AsType[recoveredError](err)
	shown, silent := errors.AsType[exitCode](err)
	switch {
	case errors.Is(err, engine.ErrInDoubt):
		return exitInDoubt
	case partly, recovered, errors.Is(err, engine.ErrRolledBack):
		return exitRolledBack
	case silent:
		return int(shown)
	}
	return exitError
}

// longFlags lets flags be written with one dash too, as in -var and
// -detailed-exitcode.
func longFlags(root *cobra.Command, args []string) []string {
	long := func(name string) bool {
		known := root.PersistentFlags().Lookup(name) != nil
		for _, c := range root.Commands() {
			for _, c := range append(c.Commands(), c) {
				known = known || c.Flags().Lookup(name) != nil
			}
		}
		return known
	}
	out := slices.Clone(args)
	for i, a := range out {
		if a == "--" {
			break
		}
		name, _, _ := strings.Cut(strings.TrimPrefix(a, "-"), "=")
		if strings.HasPrefix(a, "-") && len(name) > 1 && long(name) {
			out[i] = "-" + a
		}
	}
	return out
}

func newRoot(screen *view.Screen) *cobra.Command {
	a := &app{screen: screen}
	root := &cobra.Command{
		Use:           "ecdeploy",
		Short:         "Deploy Element Call's backend to Matrix homeservers over SSH",
		SilenceUsage:  true,
		SilenceErrors: true,
		Version:       version,
	}
	root.CompletionOptions.HiddenDefaultCmd = true
	f := root.PersistentFlags()
	f.StringArrayVar(&a.vars, "var", nil, "set a variable of the plan file, `NAME=VALUE`")
	f.StringSliceVar(&a.limit, "limit", nil, "only these `SITES` (by server name, or by a host that belongs to them)")
	f.BoolVar(&screen.JSON, "json", false, "write JSON, one object a line")
	f.BoolVar(&screen.NoColor, "no-color", false, "write no colours")
	f.BoolVar(&a.acceptNew, "accept-new", false, "accept and remember the host key of a host met for the first time")
	f.StringVar(&a.sshConfig, "ssh-config", "", "read `FILE` instead of ~/.ssh/config")
	f.StringSliceVar(&a.knownHosts, "known-hosts", nil, "read `FILES` instead of the usual known_hosts")
	f.CountVarP(&a.verbose, "verbose", "v", "say more about the connection; never content")
	root.AddCommand(a.validateCmd(), a.planCmd(), a.applyCmd(), a.statusCmd(), a.verifyCmd(), a.explainCmd(), a.rollbackCmd(),
		a.destroyCmd(), a.forgetCmd(), a.runsCmd(), a.pruneCmd(), a.auditCmd(), a.secretsCmd(), a.versionCmd())
	return root
}

func (a *app) versionCmd() *cobra.Command {
	return &cobra.Command{Use: "version", Short: "Print the version", Args: cobra.NoArgs, Run: func(*cobra.Command, []string) {
		a.screen.Print("%s", version)
	}}
}

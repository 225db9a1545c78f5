package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/emdecloud/ecdeploy/internal/view"
	"github.com/emdecloud/ecdeploy/plans"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("ECDEPLOY_FAULT_DIR"); dir != "" {
		runWithFaults(dir)
	}
	if os.Getenv("ECDEPLOY_VERIFY_FAULT") != "" {
		runForVerify()
	}
	if when := os.Getenv("ECDEPLOY_TEST_PANIC"); when != "" {
		runWithPanic(when)
	}
	testscript.Main(cleanUp{m}, map[string]func(){"ecdeploy": main})
}

// cleanUp removes what tests share once all have ended.
type cleanUp struct{ *testing.M }

func (c cleanUp) Run() int {
	code := c.M.Run()
	if os.Getenv("ECDEPLOY_E2E") == "1" {
		if dir, err := binaryDir(); err == nil {
			_ = os.RemoveAll(dir) // what stays is one program in /tmp
		}
	}
	return code
}

// The scripts in testdata/script use the command line as a person without a
// server would.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata/script",
		Setup: func(e *testscript.Env) error {
			reference, err := os.ReadFile("../../hosts.example.hcl")
			if err != nil {
				return err
			}
			e.Setenv("HOME", e.WorkDir)
			e.Setenv("ESC", "\x1b")
			return os.WriteFile(e.Cd+"/hosts.example.hcl", reference, 0o600)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){"save-plan": savePlan},
	})
}

// savePlan is `save-plan OUT FILE [NAME=VALUE] [LIMIT]`: a saved plan that
// changes nothing, as `ecdeploy plan -out` writes it where there are hosts.
func savePlan(ts *testscript.TestScript, _ bool, args []string) {
	a := &app{screen: view.NewScreen(nil, ts.Stdout(), ts.Stderr())}
	if len(args) > 2 && args[2] != "" {
		a.vars = args[2:3]
	}
	a.limit = args[min(3, len(args)):]
	f, err := a.load(ts.MkAbs(args[1]), false)
	ts.Check(err)
	var p plans.Plan
	for _, s := range f.Sites {
		p.Sites = append(p.Sites, plans.SitePlan{Site: s.ServerName})
	}
	ts.Check(a.save(ts.MkAbs(args[0]), f, p))
}

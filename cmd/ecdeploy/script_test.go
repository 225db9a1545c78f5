package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	if dir := os.Getenv("ECDEPLOY_FAULT_DIR"); dir != "" {
		runWithFaults(dir)
	}
	testscript.Main(m, map[string]func(){"ecdeploy": main})
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
			return os.WriteFile(e.Cd+"/hosts.example.hcl", reference, 0o600)
		},
	})
}

// Package plans reads plan files and turns hosts' facts into a plan: the
// ordered changes of a run. It saves plans, and tells what moved since.
//
// It is the only package that imports hcl; mistakes leave it as plain data.
// Reading a plan file dials nothing, runs nothing and reads no secret.
package plans

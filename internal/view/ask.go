package view

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"strings"

	"golang.org/x/term"

	"github.com/emdecloud/ecdeploy/internal/host"
)

// Interactive reports whether there is a person to ask.
func (s *Screen) Interactive() bool { return s.in != nil && term.IsTerminal(int(s.in.Fd())) }

// Confirm asks a question and waits for the answer. It is an error where the answer
// is not yes, or does not come before ctx is done.
func (s *Screen) Confirm(ctx context.Context, question string) error {
	s.say(question + " Only 'yes' goes on: ")
	answer := make(chan string, 1)
	go func() {
		line, _ := bufio.NewReader(s.in).ReadString('\n') // an end of input is no yes
		answer <- strings.TrimSpace(line)
	}()
	select {
	case <-ctx.Done():
		return errors.New("interrupted; nothing was changed")
	case line := <-answer:
		if line != "yes" {
			return errors.New("not confirmed; nothing was changed")
		}
		return nil
	}
}

// Secret reads a line with echo off. An interrupt gives up waiting for it.
func (s *Screen) Secret(ctx context.Context, prompt string) (host.Secret, error) {
	fd := int(s.in.Fd())
	before, err := term.GetState(fd)
	if err != nil {
		return host.Secret{}, fmt.Errorf("read answer: %w", err)
	}
	s.say(prompt)
	defer s.say("\n")
	type answer struct {
		text []byte
		err  error
	}
	got := make(chan answer, 1)
	go func() {
		b, err := term.ReadPassword(fd)
		got <- answer{b, err}
	}()
	select {
	case <-ctx.Done():
		_ = term.Restore(fd, before) // the program ends soon
		return host.Secret{}, context.Cause(ctx)
	case a := <-got:
		if a.err != nil {
			return host.Secret{}, fmt.Errorf("read answer: %w", a.err)
		}
		return host.NewSecret(string(a.text)), nil
	}
}

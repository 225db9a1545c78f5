package host

import (
	"context"
	"fmt"
	"sync"
)

// once keeps the answers to questions, by their keys. Its zero value is ready.
type once[A any] struct {
	mu    sync.Mutex
	asked map[string]*pending[A]
}

// pending is a question that somebody has asked.
type pending[A any] struct {
	done     chan struct{} // closed when it is settled
	answer   A
	answered bool // false where the call that carried it failed
}

// ask answers keys in their order. Those that nobody has asked before are sent
// in one call, by their places in keys; the other answers are waited for, until
// ctx ends.
func (o *once[A]) ask(ctx context.Context, keys []string, send func(places []int) ([]A, error)) ([]A, error) {
	for {
		all, ours := o.claim(keys)
		if len(ours) > 0 {
			if err := o.send(keys, all, ours, send); err != nil {
				return nil, err
			}
		}
		// Our own call is settled, so no two callers wait for each other.
		out, err := await(ctx, all)
		if out != nil || err != nil {
			return out, err
		}
		// Somebody else's call failed, and its questions are free again.
	}
}

// claim finds the questions that were asked, and makes those that were not
// ours: their places.
func (o *once[A]) claim(keys []string) (all []*pending[A], ours []int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.asked == nil {
		o.asked = map[string]*pending[A]{}
	}
	for i, k := range keys {
		p := o.asked[k]
		if p == nil {
			p = &pending[A]{done: make(chan struct{})}
			o.asked[k], ours = p, append(ours, i)
		}
		all = append(all, p)
	}
	return all, ours
}

// send settles our questions: answered, or free for whoever wants them next.
func (o *once[A]) send(keys []string, all []*pending[A], ours []int, send func(places []int) ([]A, error)) error {
	answers, err := send(ours)
	if err == nil && len(answers) != len(ours) {
		err = fmt.Errorf("%w: %d answers to %d questions", errGarbled, len(answers), len(ours))
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	for i, place := range ours {
		p := all[place]
		if err == nil {
			p.answer, p.answered = answers[i], true
		} else {
			delete(o.asked, keys[place])
		}
		close(p.done)
	}
	return err
}

// await waits for all answers; nil where a call that carried one of them failed.
func await[A any](ctx context.Context, all []*pending[A]) ([]A, error) {
	out := make([]A, len(all))
	for i, p := range all {
		select {
		case <-p.done:
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
		if !p.answered {
			return nil, nil
		}
		out[i] = p.answer
	}
	return out, nil
}

package steps

// Shared is what steps on different hosts of one site tell each other between
// probing and deciding. The zero value is ready to be used.
type Shared struct {
	Sources map[string]string // by host name: the address it uses towards the SFU's bind address
	HTTPS   map[string]string // by host name: where its own proxy listens, "127.0.0.1:443" where nobody says
	Offers  []Secret          // the candidates for the site's secrets, in no order
	Secrets Secrets           // those that the plan is made with; chosen before anything is decided
	facts   map[any]map[string]any
}

// Key names a fact of type T that steps share; there is one value for each host.
// Keys of one name and of different types are different keys.
type Key[T any] struct{ Name string }

// Put shares a fact of a host, in place of what was shared there under k before.
func Put[T any](s *Shared, k Key[T], host string, v T) {
	if s.facts == nil {
		s.facts = map[any]map[string]any{}
	}
	if s.facts[k] == nil {
		s.facts[k] = map[string]any{}
	}
	s.facts[k][host] = v
}

// Get is a fact of a host; ok is false where nobody shared it.
func Get[T any](s Shared, k Key[T], host string) (v T, ok bool) {
	v, ok = s.facts[k][host].(T)
	return v, ok
}

// All is a fact of all hosts that have it, by their names. It is the caller's own.
func All[T any](s Shared, k Key[T]) map[string]T {
	out := map[string]T{}
	for name := range s.facts[k] {
		out[name], _ = Get(s, k, name)
	}
	return out
}

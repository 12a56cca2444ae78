package pacing

import "sync"

// Key names what a provider counts together.
type Key struct {
	Host  string
	KeyID string // a digest of the secret, never the secret
	Model string
}

// Gates holds one gate for every key in use. The zero value is ready.
type Gates struct {
	mu sync.Mutex
	m  map[Key]*Gate
}

// Get returns the gate of k, made from c when it is the first. A later c sets
// the limits for everybody who shares the gate: the newest word of the key's
// owner counts.
func (gs *Gates) Get(k Key, c Config) *Gate {
	gs.mu.Lock()
	defer gs.mu.Unlock()
	if g, ok := gs.m[k]; ok {
		g.Reconfigure(c)
		return g
	}
	if gs.m == nil {
		gs.m = map[Key]*Gate{}
	}
	g := NewGate(c)
	gs.m[k] = g
	return g
}

// Each calls f for every gate, in no order.
func (gs *Gates) Each(f func(Key, Snapshot)) {
	gs.mu.Lock()
	all := make(map[Key]*Gate, len(gs.m))
	for k, g := range gs.m {
		all[k] = g
	}
	gs.mu.Unlock()
	for k, g := range all {
		f(k, g.Snapshot())
	}
}

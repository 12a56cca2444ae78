package batch

import "math/bits"

// Bits is a bitmap over the items of a shard, bit i for the i-th item.
type Bits []byte

// NewBits returns n cleared bits.
func NewBits(n int) Bits { return make(Bits, (n+7)/8) }

// Get reports bit i.
func (b Bits) Get(i int) bool { return b[i/8]&(1<<(i%8)) != 0 }

// Set sets bit i.
func (b Bits) Set(i int) { b[i/8] |= 1 << (i % 8) }

// Clear clears bit i.
func (b Bits) Clear(i int) { b[i/8] &^= 1 << (i % 8) }

// Count returns how many bits are set.
func (b Bits) Count() int {
	n := 0
	for _, x := range b {
		n += bits.OnesCount8(x)
	}
	return n
}

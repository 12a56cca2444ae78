package format

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
)

var errCounts = errors.New("a page holds more values than it says, or ends too early")

func bitsOf(most int) uint { return uint(bits.Len(uint(most))) }

// length32 reads a length before what it counts.
func length32(b []byte) (int, bool) {
	if len(b) < 4 {
		return 0, false
	}
	n := binary.LittleEndian.Uint32(b)
	return int(n), uint64(n) <= uint64(len(b)-4)
}

// counted looks at the counts inside the values of a page, which make memory
// without bytes behind them.
func counted(b []byte, p page) (more int64, err error) {
	if p.values == 0 || len(b) == 0 {
		return 0, nil
	}
	switch p.encoding {
	case 2, 8: // indexes into the dictionary
		if b[0] > 32 {
			return 0, errCounts
		}
		return 0, runs(b[1:], uint(b[0]), p.values, nil)
	case 3: // booleans
		n, ok := length32(b)
		if !ok {
			return 0, errCounts
		}
		return 0, runs(b[4:4+n], 1, p.values, nil)
	case 5, 6: // differences; lengths, the texts behind them
		_, err = readDeltas(&thrift{b: b}, p.values)
		return 0, err
	case 7: // how much is like the text before, how much is new, and that
		same, b, err := deltas(b, p.values)
		if err != nil {
			return 0, err
		}
		fresh, _, err := deltas(b, p.values)
		if same < 0 || fresh < 0 {
			return 0, errCounts
		}
		return same + fresh, err
	}
	return 0, nil
}

// runs goes over values in runs of equal ones and in packed groups of eight, and
// refuses more than n and a few. A run is given to each at once, unless it is
// of zeros: those are given one by one.
func runs(b []byte, width uint, n int64, each func(level, n uint64)) error {
	left := n + spareValues
	for i := 0; i < len(b); {
		u, k := binary.Uvarint(b[i:])
		if k <= 0 || u>>1 > 1<<31 {
			return errCounts
		}
		i += k
		count := u >> 1
		if u&1 == 1 {
			size := count * uint64(width)
			if count *= 8; size > uint64(len(b)-i) {
				return nil // the library tells
			}
			if each != nil {
				unpackBits(b[i:i+int(size)], width, min(left, int64(count)), each)
			}
			i += int(size)
		} else {
			size := int(width+7) / 8
			if size > len(b)-i {
				return nil
			}
			if each != nil && size > 0 {
				each(uint64(b[i]), count)
			}
			i += size
		}
		if left -= int64(count); left < 0 {
			return errCounts
		}
	}
	return nil
}

// unpackBits gives n values of a width of at most eight bits, lowest bits first.
func unpackBits(b []byte, width uint, n int64, each func(level, n uint64)) {
	for k := range n {
		at := uint(k) * width
		if int(at+width+7)/8 > len(b) {
			return
		}
		word := uint(b[at/8])
		if at/8+1 < uint(len(b)) {
			word |= uint(b[at/8+1]) << 8
		}
		each(uint64(word>>(at%8)&(1<<width-1)), 1)
	}
}

// delta is the beginning of a block of differences.
type delta struct {
	each, minis uint64 // values of a group, groups of a round
	total       uint64
	value       int64 // the first
}

func readDeltas(t *thrift, n int64) (d delta, err error) {
	block, err1 := t.unsigned()
	minis, err2 := t.unsigned()
	total, err3 := t.unsigned()
	value, err4 := t.integer()
	if err := errors.Join(err1, err2, err3, err4); err != nil {
		return d, err
	}
	if minis == 0 || block == 0 || block > 64<<10 || minis > block || total > uint64(n+spareValues) {
		return d, fmt.Errorf("%w (%d, not %d)", errCounts, total, n)
	}
	return delta{block / minis, minis, total, value}, nil
}

// deltas goes over one block of differences, and returns the sum of the values
// (below 0: one of them is) and what stands behind it.
func deltas(b []byte, n int64) (sum int64, rest []byte, err error) {
	t := &thrift{b: b}
	d, err := readDeltas(t, n)
	if err != nil {
		return 0, nil, err
	}
	total, value := d.total, d.value
	if total == 0 {
		return 0, b[t.i:], nil
	}
	negative := false
	add := func() {
		negative = negative || value < 0
		if sum += min(max(value, 0), 1<<40); sum > 1<<50 {
			sum = 1 << 50
		}
	}
	add()
	for total--; total > 0; {
		least, err := t.integer()
		if err != nil {
			return 0, nil, err
		}
		at := t.i
		if err := t.skip(d.minis); err != nil {
			return 0, nil, err
		}
		for _, width := range b[at : at+int(d.minis)] {
			if total == 0 {
				break
			}
			start := t.i
			if err := t.skip(d.each * uint64(width) / 8); err != nil || width > 64 {
				// A last group may be cut short; then nothing stands behind it.
				t.i = len(b)
			}
			for k := range min(d.each, total) {
				value += least + int64(word(b[start:t.i], uint(k), uint(width)))
				add()
			}
			total -= min(d.each, total)
		}
	}
	if negative {
		sum = -1
	}
	return sum, b[t.i:], nil
}

// word is number k of values of a width of at most 64 bits.
func word(b []byte, k, width uint) (out uint64) {
	for i := range width {
		at := k*width + i
		if at/8 >= uint(len(b)) {
			break
		}
		out |= uint64(b[at/8]>>(at%8)&1) << i
	}
	return out
}

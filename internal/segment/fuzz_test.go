package segment

import (
	"bytes"
	"reflect"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
)

// FuzzChunk unpacks any bytes: a whole group or an error, quickly, and what is
// read is written and read again as itself.
func FuzzChunk(f *testing.F) {
	c := codec(f)
	for _, g := range []Group{{}, {Outcomes: []batch.Outcome{{Ordinal: 7, ID: "a", State: batch.ItemOK}}, Attempts: []batch.Attempt{{Ordinal: 7, ID: "a", N: 1}}}} {
		b, err := c.Encode(g)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(b, false)
	}
	for _, text := range []string{"{\"o\":1,\"id\":\"x\"}\n", "{\"A\":{}}\n", "{\"A\":null}\n", "{\"o\":1e3}\n", "\n\n", "{\"o\":", "[]\n"} {
		f.Add([]byte(text), true)
	}
	f.Fuzz(func(t *testing.T, b []byte, plain bool) {
		if plain { // past the checksum of the packing
			b = c.Pack([]Line{{Text: b}})
		}
		began := time.Now()
		g, err := c.Decode(b)
		if err == nil {
			again, err := c.Encode(g)
			if err != nil {
				t.Fatal(err)
			}
			if back, err := c.Decode(again); err != nil || len(back.Outcomes) != len(g.Outcomes) || !reflect.DeepEqual(back.Attempts, g.Attempts) {
				t.Fatalf("%+v came back as %+v: %v", g, back, err)
			}
		} else if len(g.Outcomes)+len(g.Attempts) > 0 {
			t.Fatal("a damaged chunk gave a part of itself")
		}
		lines, err := c.Split(b)
		if err == nil {
			if again, err := c.Split(c.Pack(lines)); err != nil || len(again) != len(lines) {
				t.Fatalf("%d lines came back as %d: %v", len(lines), len(again), err)
			}
		}
		r, err := NewReader(bytes.NewReader(b))
		if err == nil {
			for err == nil {
				_, err = r.Outcome()
			}
			r.Close()
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("took %v for %d bytes", took, len(b))
		}
	})
}

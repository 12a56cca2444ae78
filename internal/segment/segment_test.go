package segment

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

func codec(t testing.TB) *Codec {
	t.Helper()
	c, err := NewCodec()
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func outcomes() *rapid.Generator[batch.Outcome] {
	return rapid.Custom(func(t *rapid.T) batch.Outcome {
		o := batch.Outcome{Ordinal: batch.Ordinal(rapid.Int64Range(0, 1<<40).Draw(t, "o")), ID: rapid.String().Draw(t, "id"),
			State: rapid.SampledFrom([]batch.ItemState{batch.ItemOK, batch.ItemFailed, batch.ItemSkipped}).Draw(t, "state"),
			Class: rapid.SampledFrom(batch.Classes()).Draw(t, "class"), Message: rapid.String().Draw(t, "message"),
			Usage: money.Usage{Input: rapid.Int64Range(0, 1<<40).Draw(t, "in")}, Model: rapid.String().Draw(t, "model"),
			Epoch: batch.Epoch(rapid.Int64Range(1, 1<<40).Draw(t, "epoch")), Attempt: rapid.IntRange(0, 99).Draw(t, "n"),
			Cached: rapid.Bool().Draw(t, "cached"), CopyOf: rapid.String().Draw(t, "copy")}
		if rapid.Bool().Draw(t, "answered") {
			text, err := json.Marshal(map[string]string{"a\n<&>\u2028": rapid.String().Draw(t, "text")})
			if err != nil {
				t.Fatal(err)
			}
			o.Output = text
		}
		return o
	})
}

func attempts() *rapid.Generator[batch.Attempt] {
	return rapid.Custom(func(t *rapid.T) batch.Attempt {
		return batch.Attempt{Ordinal: batch.Ordinal(rapid.Int64Range(0, 1<<40).Draw(t, "o")), ID: rapid.String().Draw(t, "id"),
			Shard: 3, Epoch: 4, N: rapid.IntRange(0, 9).Draw(t, "n"), Class: batch.ClassUnknown, Message: rapid.String().Draw(t, "message"),
			Charged:   money.Amount{Tokens: rapid.Int64().Draw(t, "tokens"), Pico: money.PicoUSD(rapid.Int64().Draw(t, "pico"))},
			StartedAt: rapid.Int64().Draw(t, "at"), Estimated: rapid.Bool().Draw(t, "estimated")}
	})
}

// form is what must come back: json turns broken text into the same thing on
// every way through.
func form(t *rapid.T, v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	c := codec(t)
	rapid.Check(t, func(t *rapid.T) {
		g := Group{Outcomes: rapid.SliceOfN(outcomes(), 0, 6).Draw(t, "outcomes"), Attempts: rapid.SliceOfN(attempts(), 0, 6).Draw(t, "attempts")}
		body, err := c.Encode(g)
		if err != nil {
			t.Fatal(err)
		}
		again, err := c.Encode(g)
		if err != nil || !bytes.Equal(body, again) {
			t.Fatalf("two encodings differ: %v", err)
		}
		got, err := c.Decode(body)
		if err != nil || len(got.Outcomes) != len(g.Outcomes) || len(got.Attempts) != len(g.Attempts) {
			t.Fatalf("%d outcomes and %d attempts came back, %v", len(got.Outcomes), len(got.Attempts), err)
		}
		for i := range got.Outcomes {
			if form(t, got.Outcomes[i]) != form(t, g.Outcomes[i]) {
				t.Fatalf("%+v came back as %+v", g.Outcomes[i], got.Outcomes[i])
			}
		}
		for i := range got.Attempts {
			if form(t, got.Attempts[i]) != form(t, g.Attempts[i]) {
				t.Fatalf("%+v came back as %+v", g.Attempts[i], got.Attempts[i])
			}
		}
	})
}

func some(n int) Group {
	var g Group
	for i := range n {
		g.Outcomes = append(g.Outcomes, batch.Outcome{Ordinal: batch.Ordinal(i), ID: fmt.Sprint("i", i), State: batch.ItemOK, Class: batch.ClassOK,
			Output: json.RawMessage(fmt.Sprintf(`{"answer":"<%d>"}`, i*7919)), Epoch: 1, Attempt: 1})
	}
	return g
}

// Two codecs agree, whatever they have packed before (I6).
func TestBytesAreAFunctionOfTheContent(t *testing.T) {
	t.Parallel()
	a, b := codec(t), codec(t)
	if _, err := b.Encode(some(500)); err != nil {
		t.Fatal(err)
	}
	for _, n := range []int{0, 1, 300} {
		x, err := a.Encode(some(n))
		if err != nil {
			t.Fatal(err)
		}
		y, err := b.Encode(some(n))
		if err != nil || !bytes.Equal(x, y) {
			t.Fatalf("%d outcomes pack to other bytes: %v", n, err)
		}
	}
}

// Every bit and every cut is found: what is read is whole, or an error.
func TestDamageIsFound(t *testing.T) {
	t.Parallel()
	c := codec(t)
	g := some(30)
	body, err := c.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	for i := range body {
		for bit := range 8 {
			bad := bytes.Clone(body)
			bad[i] ^= 1 << bit
			if got, err := c.Decode(bad); err == nil && !reflect.DeepEqual(got, g) {
				t.Fatalf("bit %d of byte %d is flipped and %d outcomes came back", bit, i, len(got.Outcomes))
			}
		}
	}
	for n := 1; n < len(body); n++ {
		if got, err := c.Decode(body[:n]); err == nil {
			t.Fatalf("%d of %d bytes gave %d outcomes", n, len(body), len(got.Outcomes))
		}
		if n, err := drain(body[:n]); err == nil {
			t.Fatalf("a reader took a cut segment for one of %d outcomes", n)
		}
	}
	if n, err := drain(body); err != nil || n != 30 {
		t.Fatalf("a reader found %d outcomes, %v", n, err)
	}
	if got, err := c.Decode(nil); err != nil || len(got.Outcomes)+len(got.Attempts) != 0 {
		t.Fatalf("nothing decodes to %+v, %v", got, err)
	}
	notJSON := c.enc.EncodeAll([]byte("{\"o\":1,\n"), nil)
	if _, err := c.Decode(notJSON); err == nil {
		t.Fatal("a line that is not JSON was taken")
	}
}

func drain(body []byte) (n int, err error) {
	r, err := NewReader(bytes.NewReader(body))
	if err != nil {
		return 0, err
	}
	defer r.Close()
	for {
		if _, err := r.Outcome(); errors.Is(err, io.EOF) {
			return n, nil
		} else if err != nil {
			return n, err
		}
		n++
	}
}

// What is sealed without being decoded is what encoding its outcomes gives.
func TestSplitAndPackKeepTheBytes(t *testing.T) {
	t.Parallel()
	c := codec(t)
	g := some(40)
	g.Attempts = []batch.Attempt{{Ordinal: 3, ID: "i3", Shard: 7, Epoch: 2, Class: batch.ClassOK}}
	body, err := c.Encode(g)
	if err != nil {
		t.Fatal(err)
	}
	lines, err := c.Split(body)
	if err != nil || len(lines) != 41 {
		t.Fatalf("%d lines, %v", len(lines), err)
	}
	for i, l := range lines[:40] {
		if l.Attempt || l.Ordinal != batch.Ordinal(i) {
			t.Fatalf("line %d is %+v", i, l)
		}
	}
	if no, err := lines[40].Shard(); err != nil || no != 7 || !lines[40].Attempt {
		t.Fatalf("the attempt is of shard %d, %v", no, err)
	}
	if !bytes.Equal(c.Pack(lines), body) {
		t.Fatal("splitting and packing changed the bytes")
	}
	want, err := c.Encode(some(40))
	if err != nil || !bytes.Equal(c.Pack(lines[:40]), want) {
		t.Fatalf("the outcomes alone pack to other bytes: %v", err)
	}
	if _, err := c.Split(body[:len(body)-1]); err == nil {
		t.Fatal("a cut chunk was split")
	}
	if _, err := c.Split(c.enc.EncodeAll([]byte("{\"x\":1,2}\n"), nil)); err == nil {
		t.Fatal("a line of another kind was taken")
	}
}

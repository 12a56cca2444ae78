package manifest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"pgregory.net/rapid"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/blob"
	"github.com/batchwright/batchwright/internal/format"
)

// TestAChangedByteIsNoticed changes the input after the build, a byte at a time.
func TestAChangedByteIsNoticed(t *testing.T) {
	t.Parallel()
	for _, kind := range []format.Kind{format.JSONL, format.CSV} {
		text := encode(t, kind, tickets(30))
		p := write(t, "in."+string(kind), string(text))
		m := build(t, Config{URI: p, ID: "id"})
		rng := rand.New(rand.NewPCG(1, 2))
		for range 200 {
			at := rng.IntN(len(text))
			changed := slices.Clone(text)
			changed[at] ^= byte(1 + rng.IntN(255))
			if err := os.WriteFile(p, changed, 0o644); err != nil {
				t.Fatal(err)
			}
			hit := -1
			for i := range m.Count() {
				list, err := m.Items(t.Context(), batch.Ordinal(i), 1)
				switch {
				case err == nil && len(list) == 1:
				case errors.Is(err, batch.ErrInputChanged) && batch.KindOf(err) == batch.Conflict && strings.Contains(err.Error(), p):
					hit = int(i)
				default:
					t.Fatalf("byte %d: %v", at, err)
				}
			}
			e, err := m.Read(0, int(m.Count()))
			if err != nil {
				t.Fatal(err)
			}
			inside := -1
			for i, x := range e {
				if w := x.where; int64(at) >= w.offset && int64(at) < w.offset+w.length {
					inside = i
				}
			}
			if hit != inside {
				t.Fatalf("%s: byte %d is of item %d, noticed at %d", kind, at, inside, hit)
			}
		}
		if err := os.WriteFile(p, text[:len(text)/2], 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := m.Items(t.Context(), 0, 30); !errors.Is(err, batch.ErrInputChanged) {
			t.Errorf("cut: %v", err)
		}
		for _, deep := range []bool{false, true} {
			if err := m.VerifySources(t.Context(), deep); !errors.Is(err, batch.ErrInputChanged) {
				t.Errorf("VerifySources(%v): %v", deep, err)
			}
		}
		if err := os.Remove(p); err != nil {
			t.Fatal(err)
		}
		other, err := Open(m.list.name, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := other.Items(t.Context(), 0, 1); !errors.Is(err, batch.ErrInputChanged) {
			t.Errorf("gone: %v", err)
		}
		if err := other.VerifySources(t.Context(), false); !errors.Is(err, batch.ErrInputChanged) {
			t.Errorf("gone: %v", err)
		}
		_ = other.Close()
	}
}

func TestATouchedFileIsStillTheSame(t *testing.T) {
	t.Parallel()
	text := `{"a":1}`
	p := write(t, "in.jsonl", text)
	m := build(t, Config{URI: p})
	if err := os.Remove(p); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(p, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := m.VerifySources(t.Context(), false); err != nil {
		t.Error(err)
	}
}

// TestDamageIsNoticed flips bits of the manifest's own files.
func TestDamageIsNoticed(t *testing.T) {
	t.Parallel()
	p := write(t, "in.jsonl", string(encode(t, format.JSONL, tickets(40))))
	dir := t.TempDir()
	m, _, err := Build(t.Context(), Config{URI: p, ID: "id", Copy: true}, dir)
	if err != nil {
		t.Fatal(err)
	}
	_ = m.Close()
	rng := rand.New(rand.NewPCG(3, 4))
	for _, name := range []string{sealFile, headerFile, indexFile, heapFile, idsFile, payloadFile} {
		whole, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			t.Fatal(err)
		}
		for range 30 {
			broken := slices.Clone(whole)
			broken[rng.IntN(len(broken))] ^= 1 << rng.IntN(8)
			if err := os.WriteFile(filepath.Join(dir, name), broken, 0o644); err != nil {
				t.Fatal(err)
			}
			if err := useAll(t, dir); err == nil && name != idsFile && !(name == payloadFile) && name != sealFile {
				t.Fatalf("a changed bit in %s was not noticed", name)
			}
		}
		if err := os.WriteFile(filepath.Join(dir, name), whole, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := useAll(t, dir); err != nil {
		t.Error(err)
	}
}

// useAll reads a manifest in all ways; no reading may give wrong bytes.
func useAll(t *testing.T, dir string) error {
	m, err := Open(dir, nil)
	if err != nil {
		return err
	}
	defer m.Close()
	list, err := m.Items(t.Context(), 0, int(m.Count()))
	if err != nil {
		return err
	}
	for i, it := range list {
		want := fmt.Sprintf("{\"id\":\"T-%d\",\"text\":\"text number %d\"}", i, i%7)
		if string(it.Payload) != want {
			t.Fatalf("item %d is %s", i, it.Payload)
		}
		if o, ok, err := m.Lookup(it.ID); err == nil && ok && o != it.Ordinal {
			t.Fatalf("Lookup(%s) = %d", it.ID, o)
		}
	}
	return m.Verify(t.Context())
}

func TestReadsAreBounded(t *testing.T) {
	t.Parallel()
	m := build(t, Config{URI: write(t, "in.jsonl", string(encode(t, format.JSONL, tickets(5)))), ID: "id"})
	for _, c := range []struct {
		first batch.Ordinal
		n     int
		want  int
	}{{0, 5, 5}, {3, 10, 2}, {5, 1, 0}, {100, 1, 0}, {0, 0, 0}} {
		if e, err := m.Read(c.first, c.n); err != nil || len(e) != c.want {
			t.Errorf("Read(%d, %d) = %d entries, %v", c.first, c.n, len(e), err)
		}
		if e, err := m.Items(t.Context(), c.first, c.n); err != nil || len(e) != c.want {
			t.Errorf("Items(%d, %d) = %d items, %v", c.first, c.n, len(e), err)
		}
	}
	if _, err := m.Read(-1, 1); err == nil {
		t.Error("read before the first")
	}
}

// TestManyFilesAreReadByMany reads more files than are held open at once.
func TestManyFilesAreReadByMany(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for i := range 3 * maxOpen {
		text := encode(t, format.JSONL, []ticket{{fmt.Sprint("a", i), "x"}, {fmt.Sprint("b", i), "y"}})
		if err := os.WriteFile(filepath.Join(dir, fmt.Sprintf("%03d.jsonl", i)), text, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	m := build(t, Config{URI: dir, ID: "id"})
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			rng := rand.New(rand.NewPCG(uint64(g), 7))
			for range 300 {
				o := batch.Ordinal(rng.Int64N(m.Count()))
				list, err := m.Items(t.Context(), o, 3)
				if err != nil || list[0].ID != fmt.Sprintf("%c%d", 'a'+o%2, o/2) {
					t.Errorf("item %d: %v", o, err)
					return
				}
			}
		})
	}
	wg.Wait()
}

func TestDiff(t *testing.T) {
	t.Parallel()
	rows := tickets(3000)
	from := build(t, Config{URI: write(t, "a.jsonl", string(encode(t, format.JSONL, rows))), ID: "id"})
	changed := slices.Clone(rows)
	changed[7].Text, changed[2999].Text = "other", "other"
	changed = append(slices.Delete(changed, 100, 103), ticket{"new", "x"})
	slices.Reverse(changed)
	to := build(t, Config{URI: write(t, "b.jsonl", string(encode(t, format.JSONL, changed))), ID: "id"})
	d, err := Diff(t.Context(), from, to, 2)
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(d.ChangedIDs)
	if d.Added != 1 || d.Removed != 3 || d.Changed != 2 || !slices.Equal(d.AddedIDs, []string{"new"}) || len(d.RemovedIDs) != 2 ||
		!slices.Equal(d.ChangedIDs, []string{"T-2999", "T-7"}) {
		t.Errorf("%+v", d)
	}
	if d, err := Diff(t.Context(), from, from, 2); err != nil || !d.Empty() {
		t.Errorf("%+v %v", d, err)
	}
	slices.Reverse(rows)
	reversed := build(t, Config{URI: write(t, "c.jsonl", string(encode(t, format.JSONL, rows))), ID: "id"})
	if d, err := Diff(t.Context(), from, reversed, 2); err != nil || !d.Empty() {
		t.Errorf("another order: %+v %v", d, err)
	}
	quarantined := build(t, Config{URI: write(t, "a.jsonl", "x\n"+string(encode(t, format.JSONL, tickets(3000)))), ID: "id", Quarantine: true})
	if d, err := Diff(t.Context(), from, quarantined, 2); err != nil || d.Added != 1 || d.Removed != 0 || d.Changed != 0 {
		t.Errorf("a bad row more: %+v %v", d, err)
	}
}

// TestLeadersAndNumbersHold holds ids and leaders against a simple model.
func TestLeadersAndNumbersHold(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	rapid.Check(t, func(rt *rapid.T) {
		texts := rapid.SliceOfN(rapid.SampledFrom([]string{"a", "b", "c", "d", "e"}), 1, 40).Draw(rt, "texts")
		extra := rapid.Bool().Draw(rt, "extra")
		var in strings.Builder
		for i, s := range texts {
			if extra {
				fmt.Fprintf(&in, "{\"text\":%q,\"n\":%d}\n", s, i%2)
			} else {
				fmt.Fprintf(&in, "{\"text\":%q}\n", s)
			}
		}
		p := filepath.Join(dir, "in.jsonl")
		if err := os.WriteFile(p, []byte(in.String()), 0o644); err != nil {
			rt.Fatal(err)
		}
		out, err := os.MkdirTemp(dir, "m")
		if err != nil {
			rt.Fatal(err)
		}
		m, _, err := Build(t.Context(), Config{URI: p, KeyFields: []string{"text"}}, out)
		if err != nil {
			rt.Fatal(err)
		}
		defer m.Close()
		first, followers, ids := map[string]batch.Ordinal{}, map[batch.Ordinal]bool{}, map[string]bool{}
		list, err := m.Items(t.Context(), 0, len(texts))
		if err != nil {
			rt.Fatal(err)
		}
		for i, s := range texts {
			o, seen := first[s]
			if !seen {
				first[s], o = batch.Ordinal(i), NoLeader
			} else {
				followers[o] = true
			}
			if list[i].Leader != o || ids[list[i].ID] {
				rt.Fatalf("item %d: %+v, leader should be %d", i, list[i].Entry, o)
			}
			ids[list[i].ID] = true
			if got, ok, err := m.Lookup(list[i].ID); !ok || err != nil || got != batch.Ordinal(i) {
				rt.Fatalf("Lookup(%s) = %d %v %v", list[i].ID, got, ok, err)
			}
		}
		for i := range list {
			if list[i].Leads != followers[batch.Ordinal(i)] {
				rt.Fatalf("item %d: leads %v", i, list[i].Leads)
			}
		}
		if err := m.Verify(t.Context()); err != nil {
			rt.Fatal(err)
		}
	})
}

// TestSorterSortsWhatDoesNotFit runs the sorter with hardly any memory.
func TestSorterSortsWhatDoesNotFit(t *testing.T) {
	t.Parallel()
	d, err := blob.OpenDir(t.TempDir(), false)
	if err != nil {
		t.Fatal(err)
	}
	for _, limit := range []int{1, 500, 1 << 20} {
		s := newSorter(d, limit)
		rng := rand.New(rand.NewPCG(5, 6))
		type rec struct{ key, seq uint64 }
		var want []rec
		for i := range uint64(2000) {
			k := rng.Uint64N(300)
			want = append(want, rec{k, i})
			if err := s.add(k, i, fmt.Appendf(nil, "%d/%d", k, i)); err != nil {
				t.Fatal(err)
			}
		}
		slices.SortFunc(want, func(a, b rec) int {
			if a.key != b.key {
				return int(a.key) - int(b.key)
			}
			return int(a.seq) - int(b.seq)
		})
		i := 0
		err := s.each(func(key, seq uint64, tail []byte) error {
			if want[i] != (rec{key, seq}) || string(tail) != fmt.Sprintf("%d/%d", key, seq) {
				return fmt.Errorf("record %d is %d/%d %q, want %v", i, key, seq, tail, want[i])
			}
			i++
			return nil
		})
		if err != nil || i != len(want) {
			t.Errorf("limit %d: %d records, %v", limit, i, err)
		}
	}
	if names, err := d.Names(); err != nil || len(names) != 0 {
		t.Errorf("left %v %v", names, err)
	}
}

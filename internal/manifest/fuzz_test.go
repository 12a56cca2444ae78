package manifest

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/format"
)

// FuzzID names an item by any text: it is found by that very id, and its
// payload is what was given, or the row is refused with its line.
func FuzzID(f *testing.F) {
	for _, s := range []string{"a", "", "../../etc/passwd", "a\x00b", "\u202e", "=1+1", "a#2", "1e9", "\xff", " ", "CON", "<script>"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, id string) {
		row, err := json.Marshal(map[string]string{"id": id, "text": "x"})
		if err != nil {
			t.Fatal(err)
		}
		var want struct{ ID string }
		if err := json.Unmarshal(row, &want); err != nil {
			t.Fatal(err)
		}
		p := write(t, "in.jsonl", fmt.Sprintf("{\"id\":\"first\",\"text\":\"y\"}\n%s\n", row))
		m, _, err := Build(t.Context(), Config{URI: p, ID: "id"}, filepath.Join(t.TempDir(), "m"))
		if err != nil {
			if batch.KindOf(err) != batch.Invalid || len(err.Error()) > 2000 {
				t.Fatalf("%q: %v", id, err)
			}
			return
		}
		defer m.Close()
		o, found, err := m.Lookup(want.ID)
		if err != nil || !found || o != 1 {
			t.Fatalf("%q is not found: %d %v %v", want.ID, o, found, err)
		}
		if got := items(t, m); got[1].ID != want.ID || string(got[1].Payload) != string(row) {
			t.Fatalf("%q became %q: %s", want.ID, got[1].ID, got[1].Payload)
		}
	})
}

// FuzzManifest changes bytes of a sealed manifest: it opens and says what it
// said, or tells of the damage, quickly; it never says anything else.
func FuzzManifest(f *testing.F) {
	root := f.TempDir()
	p := filepath.Join(root, "in.jsonl")
	if err := os.WriteFile(p, encode(f, format.JSONL, tickets(20)), 0o644); err != nil {
		f.Fatal(err)
	}
	m, _, err := Build(f.Context(), Config{URI: p, ID: "id", KeyFields: []string{"text"}}, filepath.Join(root, "m"))
	if err != nil {
		f.Fatal(err)
	}
	want := items(f, m)
	digest := m.Digest()
	if err := m.Close(); err != nil {
		f.Fatal(err)
	}
	whole := map[string][]byte{}
	list, err := os.ReadDir(filepath.Join(root, "m"))
	if err != nil {
		f.Fatal(err)
	}
	for _, e := range list {
		if whole[e.Name()], err = os.ReadFile(filepath.Join(root, "m", e.Name())); err != nil {
			f.Fatal(err)
		}
	}
	names := slices.Sorted(maps.Keys(whole))
	for i := range names {
		f.Add(uint8(i), uint16(0), []byte{0})
		f.Add(uint8(i), uint16(40), []byte{0xff, 0xff, 0xff, 0xff})
		f.Add(uint8(i), uint16(9999), []byte("more"))
	}
	f.Fuzz(func(t *testing.T, which uint8, at uint16, with []byte) {
		dir := t.TempDir()
		for i, name := range names {
			b := slices.Clone(whole[name])
			if i == int(which)%len(names) {
				k := min(int(at), len(b))
				b = append(b[:k], append(slices.Clone(with), b[min(len(b), k+len(with)):]...)...)
			}
			if err := os.WriteFile(filepath.Join(dir, name), b, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		m, err := Open(dir, nil)
		if err != nil {
			if len(err.Error()) > 2000 {
				t.Fatalf("the error has %d bytes", len(err.Error()))
			}
			return
		}
		defer m.Close()
		if m.Digest() != digest || m.Count() != int64(len(want)) {
			t.Fatalf("%s says it holds %d items as %s", names[int(which)%len(names)], m.Count(), m.Digest())
		}
		n := 0
		for e, err := range m.All() {
			if err != nil {
				break
			}
			if e.ID != want[n].ID || e.Payload != want[n].Entry.Payload || e.Leader != want[n].Leader || e.Ordinal != want[n].Ordinal {
				t.Fatalf("%s: item %d is %+v", names[int(which)%len(names)], n, e)
			}
			n++
		}
		for _, w := range want[:3] {
			if o, found, err := m.Lookup(w.ID); err == nil && found && o != w.Ordinal {
				t.Fatalf("%q is found at %d", w.ID, o)
			}
		}
		if took := time.Since(began); took > 2*time.Second {
			t.Fatalf("took %v", took)
		}
	})
}

package secrettest

import (
	"bytes"
	"compress/gzip"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/klauspost/compress/zstd"
	"github.com/parquet-go/parquet-go"
)

// Find is a secret that was found.
type Find struct {
	Where string
	Needle
}

func (f Find) String() string {
	return fmt.Sprintf("%s: secret %d as %s", f.Where, f.Value, f.Encoding)
}

// Scanner looks for needles. It indexes them by their first four bytes, so that
// a text is read once, however many there are.
type Scanner struct {
	by    map[uint32][]Needle
	first [1 << 16 / 64]uint64
	zstd  *zstd.Decoder
	// Bytes and Files say how much was looked at, what was unpacked included.
	Bytes, Files, Unpacked int64
}

// NewScanner looks for the values in all encodings.
func NewScanner(values []string) (*Scanner, error) {
	d, err := zstd.NewReader(nil, zstd.WithDecoderMaxMemory(1<<30))
	if err != nil {
		return nil, err
	}
	s := &Scanner{by: map[uint32][]Needle{}, zstd: d}
	for _, n := range Needles(values) {
		k := binary.BigEndian.Uint32(n.Bytes)
		s.by[k] = append(s.by[k], n)
		s.first[k>>16/64] |= 1 << (k >> 16 % 64)
	}
	return s, nil
}

// Text looks through b and through every compressed stream that begins in it.
func (s *Scanner) Text(where string, b []byte) []Find { return s.text(where, b, 3) }

func (s *Scanner) text(where string, b []byte, depth int) []Find {
	s.Bytes += int64(len(b))
	var found []Find
	for i := 0; i+4 <= len(b); i++ {
		p := uint(b[i])<<8 | uint(b[i+1])
		if s.first[p/64]&(1<<(p%64)) != 0 {
			for _, n := range s.by[binary.BigEndian.Uint32(b[i:])] {
				if bytes.HasPrefix(b[i:], n.Bytes) {
					found = append(found, Find{where, n})
				}
			}
		}
		if depth == 0 {
			continue
		}
		if b[i] == 0x28 && bytes.HasPrefix(b[i:], []byte("\x28\xb5\x2f\xfd")) || b[i] == 0x1f && bytes.HasPrefix(b[i:], []byte("\x1f\x8b\x08")) {
			if plain := s.unpack(b[i:]); len(plain) > 0 {
				s.Unpacked++
				found = append(found, s.text(fmt.Sprintf("%s (unpacked at %d)", where, i), plain, depth-1)...)
			}
		}
	}
	return found
}

// unpack reads a compressed stream as far as it goes: what follows it is
// something else, and pages of a database can cut it.
func (s *Scanner) unpack(b []byte) []byte {
	var r io.Reader
	if b[0] == 0x1f {
		z, err := gzip.NewReader(bytes.NewReader(b))
		if err != nil {
			return nil
		}
		z.Multistream(false)
		r = z
	} else {
		if err := s.zstd.Reset(bytes.NewReader(b)); err != nil {
			return nil
		}
		r = s.zstd
	}
	var out bytes.Buffer
	_, _ = io.Copy(&out, io.LimitReader(r, 64<<20)) // ends with an error where the stream does
	return out.Bytes()
}

// Tree looks through every file below root and through the names.
func (s *Scanner) Tree(root string) ([]Find, error) {
	var found []Find
	err := filepath.WalkDir(root, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		found = append(found, s.Text("the name of "+name, []byte(name))...)
		if !d.Type().IsRegular() {
			return nil
		}
		b, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		s.Files++
		found = append(found, s.Text(name, b)...)
		if !bytes.HasPrefix(b, []byte("PAR1")) {
			return nil
		}
		rows, err := parquetText(b)
		if err != nil {
			return err
		}
		s.Unpacked++
		found = append(found, s.Text(name+" (its rows)", rows)...)
		return nil
	})
	return found, err
}

// parquetText is every value of a Parquet file, a line each.
func parquetText(b []byte) ([]byte, error) {
	f, err := parquet.OpenFile(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	for _, g := range f.RowGroups() {
		rows := g.Rows()
		for buf := make([]parquet.Row, 64); ; {
			n, err := rows.ReadRows(buf)
			for _, row := range buf[:n] {
				for _, v := range row {
					out.WriteString(v.String() + "\n")
				}
			}
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				return nil, errors.Join(err, rows.Close())
			}
		}
		if err := rows.Close(); err != nil {
			return nil, err
		}
	}
	return out.Bytes(), nil
}

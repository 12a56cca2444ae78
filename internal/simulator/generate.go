package simulator

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"strconv"
	"strings"
	"sync"
)

// schemas keeps read schemas: a job sends the same one with every item.
type schemas struct {
	mu sync.Mutex
	m  map[string]*schema
}

const mostSchemas = 256

func (s *schemas) of(raw json.RawMessage) (*schema, error) {
	s.mu.Lock()
	got, ok := s.m[string(raw)]
	s.mu.Unlock()
	if ok {
		return got, nil
	}
	got, err := schemaOf(raw)
	if err != nil {
		return nil, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.m == nil || len(s.m) >= mostSchemas {
		s.m = map[string]*schema{}
	}
	s.m[string(raw)] = got
	return got, nil
}

// chanceOf is the source of all that is drawn for one request; use keeps
// different draws apart.
func chanceOf(seed uint64, d digest, use uint64) *chance {
	c := &chance{x: seed ^ binary.LittleEndian.Uint64(d[:8])}
	c.x = c.next() ^ binary.LittleEndian.Uint64(d[8:]) + use*0x9e3779b97f4a7c15
	return c
}

const (
	useAnswer uint64 = iota
	useFault         // plus how often the request was seen, times useStep
	useLatency
	useStep

	useCut = 1 << 32 // plus the same
)

// generate makes the answer of a request: a pure function of seed, digest, what
// is asked and the fault.
func (s *Simulator) generate(k *Knobs, a *ask, d digest, f Fault) *answer {
	c := chanceOf(k.Seed, d, useAnswer)
	ans := &answer{id: d, model: a.model, in: a.inputTokens()}
	var text []byte
	if isSet(a.schema) || a.jsonObject {
		text = s.jsonText(c, a, d)
		ans.out = int64(len(text)+3) / 4
		if a.maxTokens > 0 && ans.out > a.maxTokens {
			text, ans.out, ans.end = bytes.ToValidUTF8(text[:a.maxTokens*4], nil), a.maxTokens, finishLength
		}
	} else {
		n := int64(2 + c.below(max(1, 2*k.Words-3)))
		if a.maxTokens > 0 && n > a.maxTokens {
			n = a.maxTokens
			if k.CapLength {
				ans.end = finishLength
			}
		}
		text, ans.out = prose(make([]byte, 0, 8*n+16), c, d, int(n)), n
	}
	ans.text = string(text)
	ans.spoil(a, f)
	ans.cached = int64(float64(ans.in) * k.Cached)
	ans.reasoning = int64(float64(ans.out) * k.Reasoning)
	ans.lie(f)
	return ans
}

// jsonText is an answer by the schema, or any object where none was given.
func (s *Simulator) jsonText(c *chance, a *ask, d digest) []byte {
	if a.jsonObject {
		b := append([]byte(nil), `{"answer":`...)
		return append(appendString(b, string(prose(nil, c, d, 8))), '}')
	}
	sch, err := s.schemas.of(a.schema)
	if err != nil {
		return []byte("null")
	}
	return sch.value(nil, c)
}

// spoil makes a good answer into what the fault says.
func (ans *answer) spoil(a *ask, f Fault) {
	half := ans.text[:len(ans.text)/2]
	switch f {
	case FaultBadJSON:
		ans.text = "Here it is: " + half
	case FaultLength:
		ans.text, ans.end = half, finishLength
		if a.maxTokens > 0 {
			ans.out = a.maxTokens
		}
	case FaultRefuse:
		ans.text, ans.end, ans.out = "I'm sorry, but I can't help with that.", finishRefuse, limited(9, a.maxTokens)
	case FaultFilter:
		ans.text, ans.end, ans.out = "", finishFilter, limited(1, a.maxTokens)
	case FaultNoUsage:
		ans.noUsage = true
	case FaultNoChoice:
		ans.noChoice = true
	case FaultHugeUsage:
		ans.in += 1_000_000
		ans.out += 1_000_000
	case FaultWrongModel:
		ans.model += "-other"
	case FaultWrongID:
		ans.id = digest{}
	case FaultNullChoices:
		ans.null = nullChoices
	case FaultNullContent:
		ans.null = nullContent
	case FaultBigToken:
		ans.text, ans.out = strings.Repeat("x", 1<<20), limited(1, a.maxTokens)
	}
	if t := faultTable[f].text; t != "" {
		ans.text = t
	}
}

// lie makes the usage that is told another than what is billed.
func (ans *answer) lie(f Fault) {
	ans.sayIn, ans.sayOut = ans.in, ans.out
	switch f {
	case FaultLowUsage:
		ans.sayIn, ans.sayOut, ans.cached, ans.reasoning = max(1, ans.in/2), max(1, ans.out/2), 0, 0
	case FaultHighUsage:
		ans.sayIn += 7
	case FaultNegativeUsage:
		ans.odd = "-5"
	case FaultOverflowUsage:
		ans.odd = "9223372036854775808"
	}
}

// count appends a number of tokens as the answer tells it.
func (ans *answer) count(b []byte, n int64) []byte {
	if ans.odd != "" {
		return append(b, ans.odd...)
	}
	return strconv.AppendInt(b, n, 10)
}

func limited(n, limit int64) int64 {
	if limit > 0 {
		return min(n, limit)
	}
	return n
}

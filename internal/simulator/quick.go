package simulator

import "strconv"

// quickChat reads the plain chat requests that make up most of a load: text
// messages, a limit, a temperature, a seed. Whatever else it meets, be it wrong
// or only rare, it leaves to the full reader: ok is false and says nothing. It
// must never accept what the full reader would refuse or read otherwise.
func quickChat(body []byte) (a ask, ok bool) {
	q := quick{b: body}
	if !q.eat('{') {
		return a, false
	}
	var seen uint8
	for {
		key, _, ok := q.text()
		if !ok || !q.eat(':') {
			return a, false
		}
		bit := uint8(0)
		switch string(key) {
		case "model":
			bit = 1
			name, _, ok := q.text()
			if !ok || len(name) == 0 || !plain(name) {
				return a, false
			}
			a.model = string(name)
		case "messages":
			bit = 2
			if !q.messages(&a) {
				return a, false
			}
		case "max_tokens", "max_completion_tokens":
			bit = 4
			if a.maxTokens, ok = q.whole(); !ok || a.maxTokens < 1 {
				return a, false
			}
		case "temperature":
			bit = 8
			if x, ok := q.decimal(); !ok || !(x >= 0 && x <= 2) {
				return a, false
			}
		case "seed":
			bit = 16
			if _, ok := q.whole(); !ok {
				return a, false
			}
		default:
			return a, false
		}
		if seen&bit != 0 {
			return a, false
		}
		seen |= bit
		if q.eat(',') {
			continue
		}
		return a, q.eat('}') && q.end() && seen&3 == 3
	}
}

// quick is a cursor over a JSON text.
type quick struct {
	b []byte
	i int
}

func (q *quick) space() {
	for q.i < len(q.b) && (q.b[q.i] == ' ' || q.b[q.i] == '\n' || q.b[q.i] == '\r' || q.b[q.i] == '\t') {
		q.i++
	}
}

func (q *quick) eat(c byte) bool {
	q.space()
	if q.i < len(q.b) && q.b[q.i] == c {
		q.i++
		return true
	}
	return false
}

func (q *quick) end() bool {
	q.space()
	return q.i == len(q.b)
}

// text is a string of ASCII with one-letter escapes: its raw inside and how
// many characters it stands for.
func (q *quick) text() (raw []byte, chars int64, ok bool) {
	if !q.eat('"') {
		return nil, 0, false
	}
	from := q.i
	for q.i < len(q.b) {
		c := q.b[q.i]
		switch {
		case c == '"':
			raw = q.b[from:q.i]
			q.i++
			return raw, chars, true
		case c == '\\':
			q.i++
			if q.i == len(q.b) || !oneLetter(q.b[q.i]) {
				return nil, 0, false
			}
		case c < 0x20 || c >= 0x80:
			return nil, 0, false
		}
		q.i++
		chars++
	}
	return nil, 0, false
}

func oneLetter(c byte) bool {
	switch c {
	case '"', '\\', '/', 'b', 'f', 'n', 'r', 't':
		return true
	}
	return false
}

func plain(raw []byte) bool {
	for _, c := range raw {
		if c == '\\' {
			return false
		}
	}
	return true
}

// number is the text of a number without sign and exponent.
func (q *quick) number() string {
	q.space()
	from := q.i
	for q.i < len(q.b) && (q.b[q.i] >= '0' && q.b[q.i] <= '9' || q.b[q.i] == '.') {
		q.i++
	}
	return string(q.b[from:q.i])
}

func (q *quick) whole() (int64, bool) {
	s := q.number()
	if len(s) == 0 || len(s) > 15 || s[0] == '0' && len(s) > 1 {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

// decimal takes 0, 1.5, 0.25: one digit, and perhaps a point and digits.
func (q *quick) decimal() (float64, bool) {
	s := q.number()
	if len(s) == 0 || len(s) > 8 || len(s) > 1 && (s[1] != '.' || len(s) == 2) || s[0] == '.' {
		return 0, false
	}
	x, err := strconv.ParseFloat(s, 64)
	return x, err == nil
}

func (q *quick) messages(a *ask) bool {
	if !q.eat('[') {
		return false
	}
	for {
		if !q.message(a) {
			return false
		}
		if !q.eat(',') {
			return q.eat(']')
		}
	}
}

func (q *quick) message(a *ask) bool {
	if !q.eat('{') {
		return false
	}
	role, content := false, false
	for {
		key, _, ok := q.text()
		if !ok || !q.eat(':') {
			return false
		}
		value, chars, ok := q.text()
		switch {
		case !ok:
			return false
		case string(key) == "role" && !role:
			role = true
			switch string(value) {
			case "system", "developer", "user", "assistant":
			default:
				return false
			}
		case string(key) == "content" && !content:
			content = true
			a.chars += chars
		default:
			return false
		}
		if !q.eat(',') {
			return q.eat('}') && role && content
		}
	}
}

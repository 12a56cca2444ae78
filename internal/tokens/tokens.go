// Package tokens counts the tokens of a text as a model would, or estimates
// them where the model's tokenizer is not public. It is pure and offline: the
// vocabularies are compiled in.
package tokens

import (
	"strings"
	"sync"
	"unicode/utf8"

	"github.com/tiktoken-go/tokenizer"
)

// The tokenizers. The first two count; the others estimate from the text's
// bytes, erring upwards:
//
//	claude     3.5 ASCII bytes a token
//	claude-new 2.7 (models since Claude Opus 4.7 make about 1.3 times as many)
//	gemini     3.8
//	llama      3.5
//	mistral    3.5
//	bytes      3.2, for any other model
//
// In all of them a CJK character or an emoji is one token, and another
// character beyond ASCII half of one.
const (
	O200k     = "o200k_base"
	CL100k    = "cl100k_base"
	Claude    = "claude"
	ClaudeNew = "claude-new"
	Gemini    = "gemini"
	Llama     = "llama"
	Mistral   = "mistral"
	Bytes     = "bytes"
)

// asciiPerToken is in hundredths of a byte.
var asciiPerToken = map[string]int64{Claude: 350, ClaudeNew: 270, Gemini: 380, Llama: 350, Mistral: 350, Bytes: 320}

// The codecs take 50 to 80 ms and some MB to build, so each is built once, when
// first used; they never change after.
var (
	o200k  = sync.OnceValue(func() tokenizer.Codec { return codec(tokenizer.O200kBase) })
	cl100k = sync.OnceValue(func() tokenizer.Codec { return codec(tokenizer.Cl100kBase) })
)

func codec(e tokenizer.Encoding) tokenizer.Codec {
	c, err := tokenizer.Get(e)
	if err != nil {
		panic(err) // the encodings are compiled in
	}
	return c
}

// Count returns the number of tokens of text. exact is false for an estimate:
// the tokenizer is one that only estimates, or is not known (then it is taken
// for "bytes"). What a request adds around its texts is Overhead.
func Count(name, text string) (n int64, exact bool) {
	switch name {
	case O200k:
		return count(o200k(), text)
	case CL100k:
		return count(cl100k(), text)
	}
	return estimate(name, text), false
}

func count(c tokenizer.Codec, text string) (int64, bool) {
	// The codec passes over DEL as if it were not there; another control
	// character stands in for it, so that it is paid for.
	plain := strings.ReplaceAll(text, "\x7f", "\x1f")
	n, err := c.Count(plain)
	if err != nil { // no token is shorter than a byte
		return int64(len(text)), false
	}
	return int64(n), plain == text
}

func estimate(name, text string) int64 {
	per := asciiPerToken[name]
	if per == 0 {
		per = asciiPerToken[Bytes]
	}
	var ascii, wide, other int64
	for i := 0; i < len(text); {
		if text[i] < utf8.RuneSelf {
			ascii++
			i++
			continue
		}
		r, n := utf8.DecodeRuneInString(text[i:])
		if r >= 0x1100 {
			wide++
		} else {
			other++
		}
		i += n
	}
	return (ascii*100+per-1)/per + wide + (other+1)/2
}

// Overhead is what a chat request adds to its texts: three tokens, and four for
// each message. It is what OpenAI's models add, and an estimate for others.
func Overhead(messages int) int64 { return 3 + 4*int64(messages) }

// ForModel names the tokenizer of a model. exact says that Count with it counts
// as the provider bills. A model reached through a router keeps its own
// tokenizer: azure and openai_compatible go by the model's name.
func ForModel(provider, model string) (name string, exact bool) {
	m := strings.ToLower(model)
	if i := strings.LastIndexByte(m, '/'); i >= 0 {
		m = m[i+1:]
	}
	m = strings.TrimPrefix(m, "ft:")
	switch {
	case provider == "sim":
		return O200k, false // the simulator counts in its own way
	case isO200k(m):
		return O200k, provider == "openai" || provider == "azure" || provider == "groq"
	case hasPrefix(m, "gpt-4", "gpt-3.5", "gpt-35", "text-embedding-"):
		return CL100k, provider == "openai" || provider == "azure"
	case hasPrefix(m, "claude"):
		if hasPrefix(m, "claude-opus-4-7", "claude-opus-4-8", "claude-opus-5", "claude-sonnet-5", "claude-fable-5") {
			return ClaudeNew, false
		}
		return Claude, false
	case hasPrefix(m, "gemini", "gemma"):
		return Gemini, false
	case hasPrefix(m, "llama", "meta-llama", "codellama"):
		return Llama, false
	case hasPrefix(m, "mistral", "ministral", "mixtral", "open-mi", "codestral", "magistral", "devstral", "pixtral"):
		return Mistral, false
	}
	// A model of OpenAI that is newer than this list is most likely of the
	// present encoding, but that is not known.
	if provider == "openai" || provider == "azure" {
		return O200k, false
	}
	return Bytes, false
}

func isO200k(m string) bool {
	return hasPrefix(m, "gpt-4o", "chatgpt-4o", "gpt-4.1", "gpt-4.5", "gpt-5", "gpt-oss", "codex-mini") ||
		len(m) >= 2 && m[0] == 'o' && m[1] >= '1' && m[1] <= '9' && (len(m) == 2 || m[2] == '-')
}

func hasPrefix(s string, prefixes ...string) bool {
	for _, p := range prefixes {
		if strings.HasPrefix(s, p) {
			return true
		}
	}
	return false
}

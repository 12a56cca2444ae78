package provider

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"net"
	"net/url"
	"os"
	"regexp"
	"strings"
	"syscall"
	"unicode"
	"unicode/utf8"
)

// MessageCap is the most characters of a Result's message.
const MessageCap = 300

// scrub makes a vendor's error text fit to be shown: one line, no control
// characters, at most MessageCap characters, without URLs' credentials and
// queries and without what the request itself said. The key was taken out
// before: here the text is cut.
func scrub(msg string, sent []byte) string {
	msg = urlSecrets.ReplaceAllString(msg, "$1")
	// Validation messages of some servers end in a dump of the request.
	for _, mark := range [...]string{"'input':", `"input":`, "input_value="} {
		if i := strings.Index(msg, mark); i >= 0 {
			msg = msg[:i] + "[…]"
		}
	}
	msg = printable(msg, 4*MessageCap)
	return printable(withoutEcho(msg, sent), MessageCap)
}

// A URL's user and query are secret as a whole; $1 is scheme, host and path.
var urlSecrets = regexp.MustCompile(`(?i)(\bhttps?://)(?:[^\s/@"']*@)|\?[^\s"']*=[^\s"']*`)

// withoutEcho replaces what msg repeats of the request: runs of 24 and more
// bytes with a space in them, or of 48 and more. Names of models and
// parameters are shorter and stay readable.
func withoutEcho(msg string, sent []byte) string {
	const window = 12
	if len(msg) < 2*window || len(sent) == 0 {
		return msg
	}
	said := unescaped(sent)
	for i := 0; i+window <= len(msg); {
		if !strings.Contains(said, msg[i:i+window]) {
			i += window
			continue
		}
		from, to := i, i+window
		for from > 0 && strings.Contains(said, msg[from-1:to]) {
			from--
		}
		for to < len(msg) && strings.Contains(said, msg[from:to+1]) {
			to++
		}
		if n := to - from; n >= 48 || n >= 24 && strings.Contains(msg[from:to], " ") {
			msg = msg[:from] + "[…]" + msg[to:]
			i = from + len("[…]")
			continue
		}
		i = max(to, i+window)
	}
	return msg
}

// unescaped is a JSON body as printable would show the texts in it: an echo of
// them matches whatever was escaped on the way out.
func unescaped(body []byte) string {
	s := jsonEscapes.Replace(string(body))
	for strings.Contains(s, "  ") {
		s = strings.ReplaceAll(s, "  ", " ")
	}
	return s
}

var jsonEscapes = strings.NewReplacer(`\\`, `\`, `\"`, `"`, `\/`, `/`, `\n`, " ", `\t`, " ", `\r`, " ", "\u00a0", " ")

// printable keeps at most n characters of s on one line: control characters,
// invisible marks and broken UTF-8 become single spaces.
func printable(s string, n int) string {
	clean := len(s) <= n
	for i := 0; clean && i < len(s); i++ {
		clean = s[i] >= ' ' && s[i] < 0x7f
	}
	if clean && !strings.Contains(s, "  ") {
		return strings.TrimSpace(s)
	}
	var b strings.Builder
	space, count := true, 0
	for _, r := range s {
		if r == utf8.RuneError || unicode.IsSpace(r) || !unicode.IsPrint(r) {
			r = ' '
		}
		if r == ' ' && space {
			continue
		}
		if count == n {
			break
		}
		space = r == ' '
		b.WriteRune(r)
		count++
	}
	return strings.TrimSpace(b.String())
}

// headerText reports whether s can stand in a header as it is.
func headerText(s string) bool {
	for i := range len(s) {
		if s[i] < ' ' || s[i] >= 0x7f {
			return false
		}
	}
	return true
}

// cause says in a fixed phrase why an exchange ended early. Errors of the
// transport can hold whole URLs, so their text is not used unless it is known
// to be free of them.
func cause(ctx context.Context, err error) string {
	var (
		dns  *net.DNSError
		cert *tls.CertificateVerificationError
		host x509.HostnameError
		rec  tls.RecordHeaderError
		op   *net.OpError
		sys  syscall.Errno
		u    *url.Error
	)
	switch {
	case errors.Is(ctx.Err(), context.DeadlineExceeded), errors.Is(err, os.ErrDeadlineExceeded):
		return "no whole answer within the time allowed"
	case ctx.Err() != nil:
		return "the call was cut before its answer was whole"
	case errors.Is(err, errTooLong):
		return errTooLong.Error()
	case errors.As(err, &dns):
		return "the provider's host name cannot be resolved"
	case errors.As(err, &cert), errors.As(err, &host):
		return "the provider's TLS certificate is not accepted"
	case errors.As(err, &rec):
		return "the provider's port does not speak TLS"
	case errors.As(err, &sys):
		doing := "exchange"
		if errors.As(err, &op) {
			doing = op.Op
		}
		return doing + ": " + sys.Error()
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "the connection ended before the answer was whole"
	}
	if errors.As(err, &u) {
		err = u.Err
	}
	return "exchange: " + urlSecrets.ReplaceAllString(err.Error(), "$1") // may quote the server; Exchange redacts and cuts it
}

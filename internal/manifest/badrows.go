package manifest

import (
	"errors"
	"fmt"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
)

// badRows collects the mistakes of an input.
type badRows struct {
	limit   int
	first   []*batch.Error
	n       int64
	dropped int64 // rows that got no number, because the build will fail
}

func (b *badRows) add(e *batch.Error) {
	b.n++
	if !b.full() {
		b.first = append(b.first, e)
	}
}

// full reports whether further rows are only counted.
func (b *badRows) full() bool { return len(b.first) >= b.limit }

// failure is the error of a build that bad rows end, nil when they do not.
func (b *badRows) failure(quarantine bool) error {
	if b.n == 0 || quarantine {
		return nil
	}
	return &batch.Error{Kind: batch.Invalid, Op: "build manifest", Msg: fmt.Sprintf("%d bad %s", b.n, rowWord(b.n)),
		Hint: "correct the rows, or set input.on_bad_item: quarantine to run the others", Err: &BadRows{First: b.first, Total: b.n}}
}

// with puts the error that ended the reading behind the bad rows before it.
func (b *badRows) with(err error) error {
	e, ok := errors.AsType[*batch.Error](err)
	if !ok || e.Kind != batch.Invalid || b.n == 0 || errors.As(err, new(*BadRows)) {
		return err
	}
	b.add(e)
	return b.failure(false)
}

func rowWord(n int64) string {
	if n == 1 {
		return "row"
	}
	return "rows"
}

// BadRows are the rows that failed a build, the first of them by name.
type BadRows struct {
	First []*batch.Error
	Total int64
}

func (b *BadRows) Error() string {
	var s strings.Builder
	for _, e := range b.First {
		fmt.Fprintf(&s, "\n  %s", e.Error())
	}
	if more := b.Total - int64(len(b.First)); more > 0 {
		fmt.Fprintf(&s, "\n  and %d more", more)
	}
	return s.String()
}

// Unwrap gives the named rows to errors.Is and errors.As.
func (b *BadRows) Unwrap() []error {
	errs := make([]error, len(b.First))
	for i, e := range b.First {
		errs[i] = e
	}
	return errs
}

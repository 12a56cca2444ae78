package batch

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"syscall"
	"testing"
)

func TestMachineFault(t *testing.T) {
	t.Parallel()
	at := func(e error) error { return fmt.Errorf("save: %w", &fs.PathError{Op: "write", Path: "/x", Err: e}) }
	for _, c := range []struct {
		err         error
		fault, full bool
	}{
		{at(syscall.EIO), true, false},
		{at(syscall.ENOSPC), true, true},
		{at(syscall.EDQUOT), true, true},
		{at(syscall.EROFS), true, false},
		{at(syscall.EMFILE), true, false},
		{&Error{Kind: Unavailable, Err: at(syscall.ENOSPC)}, true, true},
		{at(syscall.ENOENT), false, false},
		{at(syscall.EACCES), false, false},
		{io.ErrUnexpectedEOF, false, false},
		{errors.New("input/output error"), false, false},
		{nil, false, false},
	} {
		if got, full := MachineFault(c.err), DiskFull(c.err); got != c.fault || full != c.full {
			t.Errorf("%v: fault %v, full %v; want %v, %v", c.err, got, full, c.fault, c.full)
		}
	}
}

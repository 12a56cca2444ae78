package batch

import (
	"errors"
	"slices"
	"syscall"
)

// broken are the errors by which a system says that it, and not who asked, is
// at fault: none of them says anything about what the bytes would have been.
func broken() []error {
	return []error{syscall.EIO, syscall.ENOSPC, syscall.EDQUOT, syscall.EROFS, syscall.EMFILE, syscall.ENFILE, syscall.ENOMEM,
		syscall.ESTALE, syscall.ENODEV, syscall.ENXIO, syscall.EFBIG, syscall.ETXTBSY, syscall.EBUSY}
}

// MachineFault reports whether err comes from a disk or a system that fails:
// what was tried can be tried again, and nothing that is kept is damaged by it.
func MachineFault(err error) bool {
	return slices.ContainsFunc(broken(), func(e error) bool { return errors.Is(err, e) })
}

// DiskFull reports whether err says that there is no room for a byte more.
func DiskFull(err error) bool {
	return errors.Is(err, syscall.ENOSPC) || errors.Is(err, syscall.EDQUOT)
}

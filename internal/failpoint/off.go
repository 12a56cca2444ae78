//go:build !failpoints

package failpoint

const enabled = false

// Hit tells that the place name was reached. Without the build tag it does
// nothing.
func Hit(string) {}

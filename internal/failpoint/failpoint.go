// Package failpoint names the places where a crash is most unkind. A binary
// built with the tag failpoints stops itself there when it is told to; in every
// other binary a point is an empty function that leaves no instruction behind.
//
// In a binary with the tag, the environment says what happens:
//
//	BATCHWRIGHT_FAILPOINT=name          kill the process (SIGKILL) at the first hit of name
//	BATCHWRIGHT_FAILPOINT=name#7        at its seventh
//	BATCHWRIGHT_FAILPOINT=name#7=stop   another end: kill, stop (SIGSTOP), term, int, or wait:500ms
//	BATCHWRIGHT_FAILPOINT=a,b#2=stop    several points
//	BATCHWRIGHT_FAILPOINT_LOG=file      append a line "name n" at the hits 1 to 8, 16, 32, … of every name
package failpoint

import "strings"

// Point is one place where a process can be made to end.
type Point struct {
	Name string
	// Meaning is what has happened, and what has not, when the point is hit.
	Meaning string
}

// Names are the names of Table, in its order, which is alphabetical.
func Names() []string {
	names := make([]string, len(Table))
	for i, p := range Table {
		names[i] = p.Name
	}
	return names
}

// Between is Hit for the edges of a transaction, as the store tells them:
// "before set target" is the point set-target.before.
func Between(edge string) {
	if !enabled {
		return
	}
	when, name, _ := strings.Cut(edge, " ")
	Hit(strings.ReplaceAll(name, " ", "-") + "." + when)
}

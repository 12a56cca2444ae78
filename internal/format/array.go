package format

import "io"

func newArray(r io.Reader, o Options) Reader { return newLines(r, o) }

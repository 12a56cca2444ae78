// Command batchwright runs offline LLM batch jobs so that they finish, never
// lose a result that was paid for, and never spend past their budget.
package main

import (
	"os"

	"github.com/batchwright/batchwright/internal/wire"
)

func main() { os.Exit(wire.Main()) }

// Package cli is the command line: one file per command, each of which opens a
// session, asks the application service and prints.
//
// The rules of the terminal:
//
//   - stdout is data and nothing else; it can be piped. Progress, notes, warnings
//     and hints go to stderr.
//   - Lines begin in lower case and end without a period. An error says what,
//     where and why; a hint says what to do now, as a command where there is one.
//   - Progress is redrawn only where stderr is a terminal; elsewhere it is one
//     line at a time, and there is never a carriage return.
//   - Colour and signs (✓ ✗ !) repeat what words say; NO_COLOR, --no-color and a
//     terminal without UTF-8 lose nothing.
//   - Every time has a zone. Money is exact: integers of 1e-12 US dollars in JSON.
//   - A command that spends money or ends something says how much and how many
//     first, and asks only where there is somebody to answer.
//   - The exit code is part of the contract; see exit.go.
package cli

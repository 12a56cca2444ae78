// Package version tells which build this is: what the linker was given, or
// else what the Go toolchain recorded.
package version

import (
	"runtime"
	"runtime/debug"
)

// Set by the linker (-ldflags "-X …/version.release=v1.2.3"); never by code.
var (
	release string
	commit  string
	date    string
)

// Build is what a binary knows of its making. It is never empty: what nobody
// recorded reads "unknown", and a build without a release "devel".
type Build struct {
	Version string `json:"version"` // v1.2.3, a pseudo-version, or devel
	Commit  string `json:"commit"`  // full hash, with "-dirty" behind it for an unclean tree
	Date    string `json:"date"`    // of the commit, RFC 3339 in UTC
	Go      string `json:"go"`      // toolchain
	OS      string `json:"os"`
	Arch    string `json:"arch"`
}

// Current is this binary's build.
func Current() Build {
	recorded, _ := debug.ReadBuildInfo()
	return build(Build{Version: release, Commit: commit, Date: date}, recorded)
}

// String is one line for a person.
func (b Build) String() string {
	return "batchwright " + b.Version + " (" + b.Commit + ", " + b.Date + ") " + b.Go + " " + b.OS + "/" + b.Arch
}

// build fills what the linker was not given from what the toolchain recorded,
// which is nothing for a binary built without version control.
func build(linked Build, recorded *debug.BuildInfo) Build {
	b := linked
	b.Go, b.OS, b.Arch = runtime.Version(), runtime.GOOS, runtime.GOARCH
	if recorded != nil {
		b.Version = first(b.Version, released(recorded.Main.Version))
		b.Commit = first(b.Commit, revision(recorded))
		b.Date = first(b.Date, setting(recorded, "vcs.time"))
	}
	b.Version = first(b.Version, "devel")
	b.Commit = first(b.Commit, "unknown")
	b.Date = first(b.Date, "unknown")
	return b
}

// released drops what the toolchain writes for a tree that is no release.
func released(v string) string {
	if v == "(devel)" {
		return ""
	}
	return v
}

func revision(recorded *debug.BuildInfo) string {
	r := setting(recorded, "vcs.revision")
	if r != "" && setting(recorded, "vcs.modified") == "true" {
		return r + "-dirty"
	}
	return r
}

func setting(recorded *debug.BuildInfo, key string) string {
	for _, s := range recorded.Settings {
		if s.Key == key {
			return s.Value
		}
	}
	return ""
}

func first(a, b string) string {
	if a != "" {
		return a
	}
	return b
}

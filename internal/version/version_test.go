package version

import (
	"runtime/debug"
	"strings"
	"testing"
)

func recorded(main string, settings ...string) *debug.BuildInfo {
	b := &debug.BuildInfo{}
	b.Main.Version = main
	for i := 0; i < len(settings); i += 2 {
		b.Settings = append(b.Settings, debug.BuildSetting{Key: settings[i], Value: settings[i+1]})
	}
	return b
}

func TestBuild(t *testing.T) {
	t.Parallel()
	vcs := []string{"vcs.revision", "abc", "vcs.time", "2026-01-02T03:04:05Z"}
	for _, c := range []struct {
		name                  string
		linked                Build
		recorded              *debug.BuildInfo
		version, commit, date string
	}{
		{"linked wins", Build{Version: "v1.2.3", Commit: "def", Date: "2026-02-02T00:00:00Z"}, recorded("v9.9.9", vcs...), "v1.2.3", "def", "2026-02-02T00:00:00Z"},
		{"installed by version", Build{}, recorded("v1.0.1"), "v1.0.1", "unknown", "unknown"},
		{"built in a checkout", Build{}, recorded("(devel)", vcs...), "devel", "abc", "2026-01-02T03:04:05Z"},
		{"unclean tree", Build{}, recorded("(devel)", append(vcs, "vcs.modified", "true")...), "devel", "abc-dirty", "2026-01-02T03:04:05Z"},
		{"part linked", Build{Version: "v1.2.3"}, recorded("(devel)", vcs...), "v1.2.3", "abc", "2026-01-02T03:04:05Z"},
		{"nothing known", Build{}, nil, "devel", "unknown", "unknown"},
		{"modified without a revision", Build{}, recorded("", "vcs.modified", "true"), "devel", "unknown", "unknown"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			b := build(c.linked, c.recorded)
			if b.Version != c.version || b.Commit != c.commit || b.Date != c.date {
				t.Errorf("got %q %q %q, want %q %q %q", b.Version, b.Commit, b.Date, c.version, c.commit, c.date)
			}
			if b.Go == "" || b.OS == "" || b.Arch == "" {
				t.Errorf("no toolchain or target in %+v", b)
			}
		})
	}
}

func TestCurrentIsNeverEmpty(t *testing.T) {
	t.Parallel()
	b := Current()
	if b.Version == "" || b.Commit == "" || b.Date == "" {
		t.Errorf("an empty field in %+v", b)
	}
	if s := b.String(); !strings.HasPrefix(s, "batchwright ") || !strings.Contains(s, b.Go) {
		t.Errorf("line %q", s)
	}
}

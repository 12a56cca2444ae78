package wire

import (
	"bytes"
	"log/slog"
	"strings"
	"testing"
	"time"
)

func TestATextIsSaidOnce(t *testing.T) {
	t.Parallel()
	var b bytes.Buffer
	h := newOnce(slog.NewTextHandler(&b, nil), slog.LevelError)
	now := time.Unix(1_700_000_000, 0)
	say := func(after time.Duration, err string) {
		r := slog.NewRecord(now.Add(after), slog.LevelError, "store", 0)
		r.AddAttrs(slog.String("err", err))
		if err := h.Handle(t.Context(), r); err != nil {
			t.Fatal(err)
		}
	}
	for i := range 100 {
		say(time.Duration(i)*time.Second, "full")
	}
	say(time.Second, "broken")
	say(2*silence, "full")
	if got := strings.Count(b.String(), "\n"); got != 3 || strings.Count(b.String(), "broken") != 1 {
		t.Errorf("%d lines, want full, broken, and full again:\n%s", got, b.String())
	}
	if _, filtered := newOnce(slog.NewTextHandler(&b, nil), slog.LevelDebug).(once); filtered {
		t.Error("a debug log leaves something out")
	}
}

package batch

import (
	"testing"
	"time"
	_ "time/tzdata"

	"github.com/batchwright/batchwright/internal/money"
)

// zones with every sort of clock: steps over midnight, at midnight, back over
// it, a lost day, half hours, and none.
var zones = []string{"UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "America/Havana", "America/Sao_Paulo", "Asia/Beirut",
	"America/St_Johns", "Atlantic/Azores", "Pacific/Apia", "Pacific/Kiritimati", "Africa/Cairo", "Asia/Gaza", "Australia/Lord_Howe", "America/Asuncion"}

// TestWindowsCoverTimeOnce walks through decades in every zone: each instant is
// in the window it was given, windows follow each other without gap or overlap,
// and a day begins the first time the wall shows its date.
func TestWindowsCoverTimeOnce(t *testing.T) {
	t.Parallel()
	for _, name := range zones {
		zone, err := time.LoadLocation(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range []Period{PeriodDay, PeriodWeek, PeriodMonth} {
			b := Budget{Name: "b", Period: p, Zone: name}
			last := b.Window("j", time.Date(1999, 12, 31, 12, 0, 0, 0, time.UTC), zone)
			for at := last.Until; at.Year() < 2040; at = last.Until {
				w := b.Window("j", at, zone)
				before := b.Window("j", at.Add(-time.Nanosecond), zone)
				if !w.From.Equal(at) || !w.Until.After(w.From) || w.ID == last.ID || before.ID != last.ID {
					t.Fatalf("%s %s at %s: %+v after %+v", name, p, at, w, last)
				}
				if at.In(zone).Format("2006-01-02") == at.Add(-time.Nanosecond).In(zone).Format("2006-01-02") {
					t.Fatalf("%s %s: %s begins in the middle of a day, %s", name, p, w.Label, at)
				}
				mid := w.From.Add(w.Until.Sub(w.From) / 2)
				if got := b.Window("j", mid, zone); got != w {
					t.Fatalf("%s %s at %s: %+v, want %+v", name, p, mid, got, w)
				}
				last = w
			}
		}
	}
}

func TestWindowNames(t *testing.T) {
	t.Parallel()
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	at := time.Date(2026, 11, 30, 23, 30, 0, 0, time.UTC) // 00:30 on the first of December in Berlin
	for _, c := range []struct {
		b    Budget
		want string
	}{
		{Budget{Name: "d", Period: PeriodDay}, "budget:d/day/2026-12-01"},
		{Budget{Name: "w", Period: PeriodWeek}, "budget:w/week/2026-W49"},
		{Budget{Name: "m", Period: PeriodMonth, PerJob: true}, "budget:m/month/2026-12/nightly"},
		{Budget{Name: "t", Period: PeriodTotal}, "budget:t/total/total"},
	} {
		if got := c.b.Window("nightly", at, berlin); got.ID != c.want {
			t.Errorf("%+v is %s, want %s", c.b, got.ID, c.want)
		}
	}
}

func TestFarFutureEnds(t *testing.T) {
	t.Parallel()
	zone, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Fatal(err)
	}
	b := Budget{Name: "b", Period: PeriodDay}
	for y := 2040; y < 2600; y++ {
		for d := range 3 {
			at := time.Date(y, 12, 30+d, 23, 30, 0, 0, time.UTC)
			if w := b.Window("", at, zone); at.Before(w.From) || !at.Before(w.Until) {
				t.Fatalf("%s is not in %+v", at, w)
			}
		}
	}
}

func TestFitLevelSaysWhoRefused(t *testing.T) {
	t.Parallel()
	ls := []Level{{ID: "run", Limit: money.Limit{Tokens: 100, Pico: -1, Retries: -1}}, {ID: "day", Limit: money.Limit{Tokens: -1, Pico: 30, Retries: -1}}}
	x := money.Amount{Tokens: 10, Pico: 20}
	sum, n, level, dim := FitLevel(ls, []money.Amount{x, x})
	if sum != x || n != 1 || level != 1 || dim != money.DimUSD {
		t.Fatalf("%+v of %d, refused by %d in %s", sum, n, level, dim)
	}
	if _, n, level, dim := FitLevel(ls, []money.Amount{x}); n != 1 || level != -1 || dim != money.DimNone {
		t.Fatalf("%d fit, refused by %d in %s", n, level, dim)
	}
}

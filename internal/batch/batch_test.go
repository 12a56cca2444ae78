package batch

import (
	"errors"
	"fmt"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/batchwright/batchwright/internal/money"
)

func amounts(most int64) *rapid.Generator[money.Amount] {
	return rapid.Custom(func(t *rapid.T) money.Amount {
		n := rapid.Int64Range(0, most)
		return money.Amount{Tokens: n.Draw(t, "tokens"), Pico: money.PicoUSD(n.Draw(t, "pico")), Retries: rapid.Int64Range(0, 2).Draw(t, "retries")}
	})
}

// Whatever a holder does, its lease is never overdrawn, and what was reserved
// is spent, at risk or given back to the last token.
func TestBookConservesMoney(t *testing.T) {
	t.Parallel()
	for range 5 {
		rapid.Check(t, conserves)
	}
}

func conserves(rt *rapid.T) {
	n := rapid.IntRange(1, 12).Draw(rt, "items")
	b := NewBook(n)
	b.ItemTokens = make([]int64, n)
	b.Reserved = amounts(600).Draw(rt, "reserved")
	held := b.Reserved
	wire := map[int]money.Amount{}
	var charged money.Amount
	calls := int64(0)
	closed := map[ItemState]int64{}
	pick := func() int {
		is := make([]int, 0, len(wire))
		for i := range wire {
			is = append(is, i)
		}
		if len(is) == 0 {
			rt.SkipNow()
		}
		slices.Sort(is)
		return rapid.SampledFrom(is).Draw(rt, "on the wire")
	}
	rt.Repeat(map[string]func(*rapid.T){
		"start": func(rt *rapid.T) {
			i := rapid.IntRange(0, n-1).Draw(rt, "item")
			if b.Done.Get(i) || b.Started.Get(i) {
				rt.SkipNow()
			}
			w := amounts(200).Draw(rt, "worst")
			fits := w.Within(b.Free())
			before := b.Attempts[i]
			switch err := b.Start(i, w); {
			case fits != (err == nil), !fits && !errors.Is(err, ErrOverdrawn):
				rt.Fatalf("start of %+v with %+v free: %v", w, b.Free(), err)
			case fits:
				wire[i] = w
			case b.Attempts[i] != before || b.Started.Get(i):
				rt.Fatal("a refused start left a trace")
			}
		},
		"finish": func(rt *rapid.T) {
			i := pick()
			w := wire[i]
			c := money.Amount{Tokens: rapid.Int64Range(0, w.Tokens).Draw(rt, "tokens"), Pico: money.PicoUSD(rapid.Int64Range(0, int64(w.Pico)).Draw(rt, "pico"))}
			s := rapid.SampledFrom([]ItemState{ItemPending, ItemOK, ItemFailed, ItemSkipped}).Draw(rt, "state")
			free := rapid.Bool().Draw(rt, "free")
			before := b.Attempts[i]
			if b.Finish(i, End{Worst: w, Charge: c, State: s, Free: free}) {
				rt.Fatal("a charge within the worst case is a breach")
			}
			if free && b.Attempts[i] != before-1 || !free && b.Attempts[i] != before || b.Done.Get(i) != (s != ItemPending) {
				rt.Fatalf("book is %+v", b)
			}
			charged = charged.Plus(c)
			closed[s]++
			calls++
			delete(wire, i)
		},
		"unsend": func(*rapid.T) {
			i := pick()
			before := b.Attempts[i]
			b.Unsend(i, wire[i])
			if b.Attempts[i] != before-1 {
				rt.Fatal("a call that was not sent counts as an attempt")
			}
			delete(wire, i)
		},
		"top up": func(rt *rapid.T) {
			x := amounts(100).Draw(rt, "more")
			b.Reserved, held = b.Reserved.Plus(x), held.Plus(x)
		},
		"": func(rt *rapid.T) {
			var open money.Amount
			for i, w := range wire {
				open = open.Plus(w)
				if !b.Started.Get(i) {
					rt.Fatalf("item %d is on the wire and not started", i)
				}
			}
			if b.Open != open || b.Started.Count() != len(wire) || b.Spent != charged || b.Calls != calls {
				rt.Fatalf("book is %+v; on the wire are %+v, charged %+v", b, open, charged)
			}
			if !b.Open.Plus(b.Spent).Within(b.Reserved) {
				rt.Fatalf("overdrawn: %+v", b)
			}
			if b.OK != closed[ItemOK] || b.Failed != closed[ItemFailed] || b.Skipped != closed[ItemSkipped] || b.Pending() != n-b.Done.Count() ||
				int64(b.Done.Count()) != b.OK+b.Failed+b.Skipped {
				rt.Fatalf("counts are %+v, want %v", b, closed)
			}
		},
	})
	if rapid.Bool().Draw(rt, "dies") || len(wire) > 0 {
		open, lost := b.Open, len(wire)
		s := b.TakeOver()
		if s.Release != held || s.Spent != charged || s.AtRisk != open || len(s.Unknown) != lost || b.Started.Count() != 0 {
			rt.Fatalf("taken over as %+v of %+v", s, b)
		}
		for _, i := range s.Unknown {
			if _, was := wire[i]; !was || b.Lost[i] != 1 {
				rt.Fatalf("item %d was lost and not on the wire", i)
			}
		}
	} else if s := b.Settle(); s.Release != held || s.Spent != charged || !s.AtRisk.IsZero() || len(s.Unknown) > 0 {
		rt.Fatalf("settled as %+v", s)
	}
	if !b.Reserved.IsZero() || !b.Open.IsZero() || !b.Spent.IsZero() {
		rt.Fatalf("a lease that ended holds %+v", b)
	}
}

func TestBookRefusesNonsense(t *testing.T) {
	t.Parallel()
	one := money.Amount{Tokens: 1}
	for name, f := range map[string]func(*Book){
		"a second start":                    func(b *Book) { _ = b.Start(0, one); _ = b.Start(0, one) },
		"a start of what is done":           func(b *Book) { b.Close(0, ItemOK); _ = b.Start(0, one) },
		"an end without a start":            func(b *Book) { b.Finish(0, End{Worst: one}) },
		"a taking back without a start":     func(b *Book) { b.Unsend(0, one) },
		"a second outcome":                  func(b *Book) { b.Close(0, ItemOK); b.Close(0, ItemFailed) },
		"a settlement with calls in flight": func(b *Book) { _ = b.Start(0, one); b.Settle() },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			b := NewBook(2)
			b.Reserved = money.Amount{Tokens: 9}
			defer func() {
				if recover() == nil {
					t.Fatal("it was taken")
				}
			}()
			f(b)
		})
	}
}

func TestBreachIsSeenInEveryDimension(t *testing.T) {
	t.Parallel()
	worst := money.Amount{Tokens: 10, Pico: 10, Retries: 1}
	for _, c := range []money.Amount{{Tokens: 11}, {Pico: 11}, {Tokens: 10, Pico: 10, Retries: 1}} {
		b := NewBook(1)
		b.Reserved = worst
		if err := b.Start(0, worst); err != nil {
			t.Fatal(err)
		}
		if got := b.Finish(0, End{Worst: worst, Charge: c, State: ItemOK}); got == c.Within(worst) || b.Spent != c {
			t.Errorf("charge %+v: breach %v, spent %+v", c, got, b.Spent)
		}
	}
}

// Fit takes the longest run of items from the front that every level holds.
func TestFit(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var ls []Level
		for range rapid.IntRange(1, 3).Draw(rt, "levels") {
			lim := rapid.Int64Range(-1, 700)
			l := Level{Limit: money.Limit{Tokens: lim.Draw(rt, "tokens"), Pico: lim.Draw(rt, "pico"), Retries: lim.Draw(rt, "retries")},
				Spent: amounts(100).Draw(rt, "spent"), Reserved: amounts(100).Draw(rt, "reserved"), AtRisk: amounts(100).Draw(rt, "at risk")}
			if l.Limit.Exceeded(money.Amount{}, l.Committed()) != money.DimNone {
				rt.SkipNow()
			}
			ls = append(ls, l)
		}
		costs := rapid.SliceOfN(amounts(120), 0, 12).Draw(rt, "costs")
		sum, n, hit := Fit(ls, costs)
		var want money.Amount
		for _, c := range costs[:n] {
			want = want.Plus(c)
		}
		if sum != want || (hit == money.DimNone) != (n == len(costs)) {
			rt.Fatalf("fits %d of %d as %+v, refused by %q", n, len(costs), sum, hit)
		}
		for _, l := range ls {
			if d := l.Limit.Exceeded(l.Committed(), sum); d != money.DimNone {
				rt.Fatalf("what fits passes the %s limit of %+v", d, l)
			}
		}
		if n < len(costs) && !slices.ContainsFunc(ls, func(l Level) bool { return l.Limit.Exceeded(l.Committed(), sum.Plus(costs[n])) == hit }) {
			rt.Fatalf("item %d was refused by %q and fits", n, hit)
		}
	})
}

func TestRunMachine(t *testing.T) {
	t.Parallel()
	reached := map[RunState]bool{RunDraft: true}
	for again := true; again; {
		again = false
		for _, s := range RunStates() {
			for _, to := range RunStates() {
				if reached[s] && s.CanBecome(to) && !reached[to] {
					reached[to], again = true, true
				}
			}
		}
	}
	for _, s := range RunStates() {
		if !reached[s] {
			t.Errorf("nothing leads to %s", s)
		}
		if s.CanBecome(s) || s.CanBecome(RunDraft) || s.CanBecome("") || RunState("").CanBecome(s) {
			t.Errorf("%s has an edge that is not drawn", s)
		}
		if s.CanBecome(RunQueued) != (s == RunDraft || s == RunAwaitingApproval) {
			t.Errorf("%s to queued", s)
		}
		if !s.Ended() && !s.CanBecome(RunCancelled) {
			t.Errorf("%s cannot be cancelled", s)
		}
		if s.Ended() && s.Resumable() && !s.CanBecome(RunRunning) {
			t.Errorf("%s says it can be resumed and cannot", s)
		}
		for _, to := range RunStates() {
			if s.Ended() && s.CanBecome(to) && to != RunRunning && to != RunCancelled {
				t.Errorf("%s has ended and becomes %s", s, to)
			}
		}
	}
	for s := range runEdges {
		if !slices.Contains(RunStates(), s) {
			t.Errorf("%s has edges and is not listed", s)
		}
	}
	for _, last := range []RunState{RunCancelled, RunRejected} {
		for _, to := range RunStates() {
			if last.CanBecome(to) {
				t.Errorf("%s is left for %s", last, to)
			}
		}
	}
	if len(RunStates()) != 13 {
		t.Errorf("%d states", len(RunStates()))
	}
}

func TestVerdict(t *testing.T) {
	t.Parallel()
	for _, x := range []struct {
		p    Progress
		ppm  int64
		want RunState
	}{
		{Progress{}, 0, RunSucceeded},
		{Progress{Total: 5, OK: 5}, 0, RunSucceeded},
		{Progress{Total: 5, OK: 4, Failed: 1}, 0, RunPartial},
		{Progress{Total: 5, OK: 4, Failed: 1}, 199_999, RunPartial},
		{Progress{Total: 5, OK: 4, Failed: 1}, 200_000, RunSucceeded},
		{Progress{Total: 5, OK: 4, Skipped: 1}, 1_000_000, RunPartial},
		{Progress{Total: 5, OK: 4}, 1_000_000, RunPartial}, // one is pending
		{Progress{Total: 5, Failed: 5}, 0, RunFailed},
		{Progress{Total: 5, Failed: 5}, 1_000_000, RunSucceeded},
		{Progress{Total: 5}, 0, RunFailed},
		{Progress{Total: 1 << 40, OK: 1<<40 - 1, Failed: 1}, 1, RunSucceeded},
	} {
		if got := x.p.Verdict(x.ppm); got != x.want {
			t.Errorf("%+v at %d ppm is %s, want %s", x.p, x.ppm, got, x.want)
		}
	}
}

func TestClasses(t *testing.T) {
	t.Parallel()
	if len(Classes()) != len(traits) {
		t.Errorf("%d classes are listed, %d have traits", len(Classes()), len(traits))
	}
	seen := map[Class]bool{}
	for _, c := range Classes() {
		x := c.Traits()
		if seen[c] || !c.Known() {
			t.Errorf("%s is listed twice, or not known", c)
		}
		seen[c] = true
		if x.Free && !x.Retry || x.StopsLane && !x.Free || x.Cooldown && !x.Free || x.Accepted && x.Retry || x.PerhapsPaid && x.Billed {
			t.Errorf("%s: %+v contradict each other", c, x)
		}
	}
	odd := Class("new_at_a_vendor")
	if odd.Known() || odd.Traits() != ClassUnknown.Traits() || !odd.Traits().PerhapsPaid || !odd.Traits().Retry {
		t.Errorf("an unknown class is %+v", odd.Traits())
	}
}

func TestErrors(t *testing.T) {
	t.Parallel()
	cause := errors.New("no route")
	inner := &Error{Kind: Unavailable, Op: "store: claim", Ref: "r_1/3", Err: cause}
	hinted := &Error{Kind: Account, Msg: "no money", Hint: "add some", Err: inner}
	outer := &Error{Kind: Invalid, Ref: "job.yaml:3:1", Op: "read", Msg: "bad", Err: fmt.Errorf("because %w", hinted)}
	if got := outer.Error(); got != "job.yaml:3:1: read: bad: because no money: r_1/3: store: claim: no route" {
		t.Errorf("it reads %q", got)
	}
	for _, x := range []struct {
		err  error
		kind Kind
		hint string
	}{
		{nil, Internal, ""}, {cause, Internal, ""}, {inner, Unavailable, ""}, {hinted, Account, "add some"}, {outer, Invalid, "add some"},
		{fmt.Errorf("wrapped: %w", outer), Invalid, "add some"}, {errors.Join(cause, hinted), Account, "add some"},
	} {
		if KindOf(x.err) != x.kind || HintOf(x.err) != x.hint {
			t.Errorf("%v: %s, %q", x.err, KindOf(x.err), HintOf(x.err))
		}
	}
	if !errors.Is(outer, cause) {
		t.Error("the chain is cut")
	}
}

func TestBits(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.IntRange(1, 70).Draw(t, "n")
		b, want := NewBits(n), make([]bool, n)
		for range 40 {
			i := rapid.IntRange(0, n-1).Draw(t, "i")
			if want[i] = rapid.Bool().Draw(t, "set"); want[i] {
				b.Set(i)
			} else {
				b.Clear(i)
			}
		}
		count := 0
		for i, w := range want {
			if b.Get(i) != w {
				t.Fatalf("bit %d of %x", i, b)
			}
			if w {
				count++
			}
		}
		if b.Count() != count {
			t.Fatalf("%d bits, want %d", b.Count(), count)
		}
	})
}

func TestValidName(t *testing.T) {
	t.Parallel()
	for s, want := range map[string]bool{"a": true, "nightly-2.x_Y": true, "": false, "-a": false, ".": false, "a b": false, "a/b": false,
		"ä": false, string(make([]byte, 3)): false, "a\n": false} {
		if ValidName(s) != want {
			t.Errorf("%q is a name: %v", s, !want)
		}
	}
}

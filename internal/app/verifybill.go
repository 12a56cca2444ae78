package app

import (
	"bufio"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// BillCheck is what a run looks like beside its provider's own bill.
type BillCheck struct {
	Calls  int64         `json:"calls"` // billed calls of this run
	Items  int64         `json:"items"` // of so many items
	Tokens int64         `json:"tokens"`
	Pico   money.PicoUSD `json:"pico_usd"`
	// Repeats are the billed calls of an item beyond its first: retries that were
	// paid, and what a lost lease or a lost answer made the run pay again.
	Repeats int64 `json:"repeats"`
	// Lost are the billed calls whose attempt a lost lease hid.
	Lost int64 `json:"lost"`
	// Strangers are calls of other runs on the same bill.
	Strangers int64 `json:"other_calls"`
	// Ledger is what the run charged and holds for its calls.
	Ledger money.Amount `json:"-"`
}

// billed is one call on the bill.
type billed struct {
	ref     attemptRef
	digest  string // of the request, as the bill names it
	usage   money.Usage
	pico    money.PicoUSD
	covered bool // an attempt, or a lost lease, says that it was made
}

// bill is a provider's bill, as far as it is about one run.
type bill struct {
	calls  []billed // by item, epoch and attempt
	sum    BillCheck
	leases map[batch.LeaseRef]*bothSides
}

// bothSides are the two sums of one lease.
type bothSides struct {
	billed, charged money.Amount
	lost            bool // a record of it holds several calls' worst case together
}

// billLine is one billed call as a witness tells it: a line of JSON.
type billLine struct {
	Digest   string `json:"digest"`
	ClientID string `json:"client_id"`
	Input    int64  `json:"input_tokens"`
	Cached   int64  `json:"cached_tokens"`
	Output   int64  `json:"output_tokens"`
}

// readBill reads the witness's lines. Of the calls of other runs it keeps the
// number, and of calls that no run made it says that they are there.
func (x *verifier) readBill(r io.Reader) error {
	var err error
	b := &bill{leases: map[batch.LeaseRef]*bothSides{}}
	sc := bufio.NewScanner(r)
	sc.Buffer(make([]byte, 0, 64<<10), 1<<20)
	for n := 1; sc.Scan(); n++ {
		var l billLine
		if err := json.Unmarshal(sc.Bytes(), &l); err != nil || l.Digest == "" {
			return &batch.Error{Kind: batch.Invalid, Op: "verify", Ref: fmt.Sprintf("the bill, line %d", n), Msg: "this is no billed call",
				Hint: "give the address of batchwright simulate, or the file of its --bill", Err: err}
		}
		run, ref, ok := readCallID(l.ClientID)
		switch {
		case !ok:
			x.find("I3", "request "+l.Digest, "it was billed and carries no attempt's id (%q)", l.ClientID)
			continue
		case run != x.r.ID:
			b.sum.Strangers++
			continue
		}
		c := billed{ref: ref, digest: strings.Clone(l.Digest), usage: money.Usage{Input: l.Input, Cached: l.Cached, Output: l.Output}}
		if c.pico, err = cost(x.card, c.usage); err != nil {
			x.find("I4", "request "+l.Digest, "its bill cannot be priced: %v", err)
		}
		b.calls = append(b.calls, c)
		b.sum.Calls++
		b.sum.Tokens += l.Input + l.Output
		b.sum.Pico += c.pico
	}
	if err := sc.Err(); err != nil {
		return &batch.Error{Kind: batch.Unavailable, Op: "verify", Ref: "the bill", Msg: "it did not come whole", Err: err}
	}
	slices.SortFunc(b.calls, func(p, q billed) int { return compareRefs(p.ref, q.ref) })
	for i := range b.calls {
		if i > 0 && b.calls[i].ref == b.calls[i-1].ref {
			x.find("I3", "request "+b.calls[i].digest, "attempt %d of item %d in epoch %d was billed more than once", b.calls[i].ref.n, b.calls[i].ref.item, b.calls[i].ref.epoch)
		}
		if i > 0 && b.calls[i].ref.item == b.calls[i-1].ref.item {
			b.sum.Repeats++
		} else {
			b.sum.Items++
		}
	}
	x.bill = b
	return nil
}

func compareRefs(p, q attemptRef) int {
	return cmp.Or(cmp.Compare(p.item, q.item), cmp.Compare(p.epoch, q.epoch), cmp.Compare(p.n, q.n))
}

// readCallID reads the id that every call carries: bw-RUN-ORDINAL-EPOCH-N.
func readCallID(id string) (run batch.RunID, ref attemptRef, ok bool) {
	f := strings.Split(id, "-")
	if len(f) != 5 || f[0] != "bw" {
		return "", ref, false
	}
	item, err1 := strconv.ParseInt(f[2], 10, 64)
	epoch, err2 := strconv.ParseInt(f[3], 10, 64)
	n, err3 := strconv.Atoi(f[4])
	return batch.RunID(f[1]), attemptRef{batch.Ordinal(item), batch.Epoch(epoch), n}, err1 == nil && err2 == nil && err3 == nil && n > 0
}

// price reads the run's frozen price.
func (x *verifier) price() error {
	if len(x.r.Price) == 0 {
		return nil
	}
	var card money.PriceCard
	if err := json.Unmarshal(x.r.Price, &card); err != nil {
		return err
	}
	x.card = &card
	return nil
}

func cost(card *money.PriceCard, u money.Usage) (money.PicoUSD, error) {
	if card == nil {
		return 0, nil
	}
	return card.Cost(u)
}

// of are the billed calls of one item in one epoch.
func (b *bill) of(item batch.Ordinal, epoch batch.Epoch) []billed {
	from, _ := slices.BinarySearchFunc(b.calls, attemptRef{item, epoch, 0}, func(c billed, r attemptRef) int { return compareRefs(c.ref, r) })
	to := from
	for to < len(b.calls) && b.calls[to].ref.item == item && b.calls[to].ref.epoch == epoch {
		to++
	}
	return b.calls[from:to]
}

// hold joins the attempts of a stretch with the bill. An attempt answers for the
// call of its number; the record of a lost lease for one call of its item that
// no attempt answers for.
func (x *verifier) hold(attempts []batch.Attempt) {
	if x.bill == nil {
		return
	}
	for pass := range 2 { // lost ones last: they take what is left
		for _, a := range attempts {
			if (a.N == 0) != (pass == 1) {
				continue
			}
			l := x.bill.lease(x.r.ID, a)
			l.charged = l.charged.Plus(a.Charged)
			l.lost = l.lost || a.N == 0
			calls := x.bill.of(a.Ordinal, a.Epoch)
			i := slices.IndexFunc(calls, func(c billed) bool { return !c.covered && (c.ref.n == a.N || a.N == 0) })
			if i < 0 {
				continue
			}
			calls[i].covered = true
			l.billed = l.billed.Plus(calls[i].amount())
			if a.N == 0 {
				x.bill.sum.Lost++
			}
		}
	}
	for _, a := range attempts { // one by one where a record stands for one call
		l := x.bill.lease(x.r.ID, a)
		if l.lost {
			continue
		}
		for _, c := range x.bill.of(a.Ordinal, a.Epoch) {
			if c.ref.n == a.N && !c.amount().Within(money.Amount{Tokens: a.Charged.Tokens, Pico: a.Charged.Pico}) {
				x.find("I4", a.ID, "attempt %d of epoch %d was billed %d tokens and %s USD and charged %d and %s (request %s)", a.N, a.Epoch,
					c.usage.Total(), c.pico, a.Charged.Tokens, a.Charged.Pico, c.digest)
			}
		}
	}
	for ref, l := range x.bill.leases {
		l.charged.Retries = 0
		if l.lost && !l.billed.Within(l.charged) {
			x.find("I4", ref.String(), "its calls were billed %d tokens and %s USD and charged %d and %s", l.billed.Tokens, l.billed.Pico, l.charged.Tokens, l.charged.Pico)
		}
	}
	clear(x.bill.leases)
}

func (c billed) amount() money.Amount { return money.Amount{Tokens: c.usage.Total(), Pico: c.pico} }

func (b *bill) lease(run batch.RunID, a batch.Attempt) *bothSides {
	ref := batch.LeaseRef{Run: run, Shard: a.Shard, Epoch: a.Epoch}
	if b.leases[ref] == nil {
		b.leases[ref] = &bothSides{}
	}
	return b.leases[ref]
}

// witness is I3 and I4 by the bill: what no attempt answers for, and the sums.
func (x *verifier) witness() error {
	if x.bill == nil {
		return nil
	}
	b, ref := x.bill, string(x.r.ID)
	for i := range b.calls {
		c := &b.calls[i]
		if c.covered || x.onTheWire(c.ref) {
			continue
		}
		x.find("I3", "request "+c.digest, "it was billed %d tokens as attempt %d of item %d in epoch %d, and no attempt says so",
			c.usage.Total(), c.ref.n, c.ref.item, c.ref.epoch)
	}
	held := x.r.Budget.Committed()
	b.sum.Ledger = held
	if b.sum.Tokens > held.Tokens || b.sum.Pico > held.Pico {
		x.find("I4", ref, "the bill has %d tokens and %s USD; spent, at risk and reserved are %d and %s", b.sum.Tokens, b.sum.Pico, held.Tokens, held.Pico)
	}
	if d := x.r.Budget.Limit.Exceeded(money.Amount{}, money.Amount{Tokens: b.sum.Tokens, Pico: b.sum.Pico}); d != money.DimNone {
		x.find("I4", ref, "the bill has %d tokens and %s USD, above the %s budget", b.sum.Tokens, b.sum.Pico, d)
	}
	x.v.Bill = &b.sum
	x.did("%d billed calls of %d items, %d tokens and %s USD, against the attempts and the ledger (I3, I4); %d were paid again, %d behind a lost lease, %d are of other runs",
		b.sum.Calls, b.sum.Items, b.sum.Tokens, b.sum.Pico, b.sum.Repeats, b.sum.Lost, b.sum.Strangers)
	return nil
}

// onTheWire reports that a lease which still stands had started the item: its
// process is gone and nobody has taken over yet, or it works.
func (x *verifier) onTheWire(ref attemptRef) bool {
	row, open := x.open[batch.ShardNo(int64(ref.item)/int64(x.r.ShardSize))]
	return open && row.State == batch.ShardLeased && row.Ref.Epoch == ref.epoch && row.Book.Started.Get(int(int64(ref.item)%int64(x.r.ShardSize)))
}

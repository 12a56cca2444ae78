package sqlite

import (
	"context"
	"fmt"
	"path/filepath"
	"testing"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
	"github.com/batchwright/batchwright/internal/store"
)

// BenchmarkClaim is one lease taken and handed back with its money settled:
// what a shard costs beside its calls.
func BenchmarkClaim(b *testing.B) { benchmarkClaim(b) }

// BenchmarkClaimNested is the same under two budgets that runs share.
func BenchmarkClaimNested(b *testing.B) {
	benchmarkClaim(b, batch.Budget{Name: "job", PerJob: true, Period: batch.PeriodDay, Zone: "Europe/Berlin", Limit: money.Limit{Tokens: 1 << 50, Pico: -1, Retries: -1}},
		batch.Budget{Name: "team", Period: batch.PeriodMonth, Zone: "Europe/Berlin", Limit: money.Limit{Tokens: 1 << 50, Pico: -1, Retries: -1}})
}

func benchmarkClaim(b *testing.B, bs ...batch.Budget) {
	ctx := context.Background()
	d := opened(b, Config{Path: filepath.Join(fast(b), "batchwright.db")})
	if err := d.SetBudgets(ctx, bs, nil); err != nil {
		b.Fatal(err)
	}
	r := aRun("r_1")
	for _, x := range bs {
		r.Draws = append(r.Draws, x.Name)
	}
	r.Items, r.ShardSize, r.Window = 2000, 50, 40
	r.Budget.Limit = money.Limit{Tokens: 1 << 50, Pico: 1 << 60, Retries: -1}
	if err := d.CreateRun(ctx, r); err != nil {
		b.Fatal(err)
	}
	costs := make([]money.Amount, 50)
	for i := range costs {
		costs[i] = money.Amount{Tokens: 1000, Pico: 1_000_000}
	}
	epochs := make([]batch.Epoch, 40)
	b.ResetTimer()
	for i := range b.N {
		no := i % 40
		s, status, _, err := d.Claim(ctx, store.Claim{Ref: batch.LeaseRef{Run: "r_1", Shard: batch.ShardNo(no), Epoch: epochs[no]}, Worker: "w", Costs: costs})
		if err != nil || status != store.Claimed {
			b.Fatal(fmt.Errorf("claim %d is %d: %w", i, status, err))
		}
		epochs[no] = s.Ref.Epoch
		if err := d.Release(ctx, s.Ref, 0, money.DimNone); err != nil {
			b.Fatal(err)
		}
	}
}

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
func BenchmarkClaim(b *testing.B) {
	ctx := context.Background()
	d := opened(b, Config{Path: filepath.Join(fast(b), "batchwright.db")})
	r := aRun("r_1")
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

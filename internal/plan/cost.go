package plan

import (
	"fmt"
	"math"

	"github.com/batchwright/batchwright/internal/batch"
	"github.com/batchwright/batchwright/internal/money"
)

// cost prices the tokens. Cached input counts in P10 and P50 at the share
// earlier calls had; P90 and Worst hope for none.
func cost(f Facts, p Plan) (Figure, error) {
	dear := dearShare(f)
	price := func(in, out, cachedPPM int64, share float64) (int64, error) {
		c := *f.Price
		plain := c
		plain.TierAt = 0
		tier := plain
		if c.TierAt > 0 && share > 0 {
			tier.In, tier.Out = c.TierIn, c.TierOut
			if c.In > 0 {
				tier.CacheRead = money.PicoUSD(float64(c.CacheRead) * float64(c.TierIn) / float64(c.In))
			}
		}
		high := int64(float64(in) * share)
		highOut := int64(float64(out) * share)
		total := int64(0)
		for _, x := range []struct {
			card    money.PriceCard
			in, out int64
		}{{plain, in - high, out - highOut}, {tier, high, highOut}} {
			v, err := x.card.Cost(money.Usage{Input: x.in, Output: x.out, Cached: int64(float64(x.in) * float64(cachedPPM) / 1e6)})
			if err == nil {
				total, err = money.Add(total, int64(v))
			}
			if err != nil {
				return 0, err
			}
		}
		return total, nil
	}
	fig := Figure{Accuracy: p.Total.Accuracy, WorstAccuracy: p.Total.WorstAccuracy}
	var errs [4]error
	fig.P10, errs[0] = price(p.Input.P10, p.Output.P10, f.Answers.CachedPPM, dear)
	fig.P50, errs[1] = price(p.Input.P50, p.Output.P50, f.Answers.CachedPPM, dear)
	fig.P90, errs[2] = price(p.Input.P90, p.Output.P90, 0, dear)
	fig.Worst, errs[3] = worstCost(*f.Price, p, f.Price.TierAt > 0 && largestBound(f) > f.Price.TierAt)
	for _, e := range errs {
		if e != nil {
			return Figure{}, &batch.Error{Kind: batch.Invalid, Op: "plan", Msg: "the cost of this run is beyond 9.2 million US dollars", Err: e,
				Hint: "check task.price and max_output_tokens"}
		}
	}
	return fig.ordered(), nil
}

// worstCost bills every token the dearest way the card knows: some caches charge
// more for writing, and one request above the tier may stand for all.
func worstCost(c money.PriceCard, p Plan, tier bool) (int64, error) {
	in, out := int64(max(c.In, c.CacheRead, c.CacheWrite)), int64(c.Out)
	if tier {
		at := c.TierAt + 1
		a, err := c.Worst(at, 0)
		if err != nil {
			return 0, err
		}
		b, err := c.Worst(at, 1)
		if err != nil {
			return 0, err
		}
		in, out = max(in, (int64(a)+at-1)/at), max(out, int64(b-a))
	}
	a, err := money.Mul(p.Input.Worst, in)
	if err != nil {
		return 0, err
	}
	b, err := money.Mul(p.Output.Worst, out)
	if err != nil {
		return 0, err
	}
	return money.Add(a, b)
}

// dearShare is the part of the input tokens that belongs to requests above the
// price card's tier.
func dearShare(f Facts) float64 {
	var above, all float64
	for _, s := range f.Sample {
		all += float64(s.InputTokens)
		if f.Price.TierAt > 0 && s.InputTokens > f.Price.TierAt {
			above += float64(s.InputTokens)
		}
	}
	if all == 0 {
		return 0
	}
	return above / all
}

func largestBound(f Facts) int64 {
	most := f.Bytes.Max
	for _, s := range f.Sample {
		most = max(most, s.InputBound)
	}
	return most
}

// fit compares the plan with the budgets that are set.
func (p *Plan) fit(f Facts) error {
	p.NeedsPrice, p.USDRef = f.Budget.Pico >= 0 && f.Price == nil && p.ToCall.N > 0, f.USDRef
	leastTokens, leastUSD, err := p.least(f)
	if err != nil {
		return err
	}
	if f.Budget.Tokens >= 0 {
		p.Fits = append(p.Fits, p.compare("token_budget", f.TokensRef, f.Budget.Tokens, f.Committed.Tokens, leastTokens, p.Total))
	}
	if f.Budget.Pico >= 0 && p.Cost != nil {
		x := p.compare("budget.usd", f.USDRef, f.Budget.Pico, int64(f.Committed.Pico), leastUSD, *p.Cost)
		x.Dollars = true
		p.Fits = append(p.Fits, x)
	}
	for _, s := range f.Shared {
		p.share(f, s, leastTokens, leastUSD)
	}
	return nil
}

// least is what the run needs even if answers are short.
func (p *Plan) least(f Facts) (tokens, pico int64, err error) {
	tokens = p.Total.P50
	if p.Output.Accuracy == Estimate {
		tokens = satAdd(p.Input.P50, p.shortAnswers(f))
	}
	if p.Cost == nil {
		return tokens, 0, nil
	}
	if p.Output.Accuracy != Estimate {
		return tokens, p.Cost.P50, nil
	}
	short := *p
	short.Output.P50 = p.shortAnswers(f)
	c, err := cost(f, short)
	return tokens, c.P50, err
}

// share compares the plan with a budget that runs share.
func (p *Plan) share(f Facts, s Shared, leastTokens, leastUSD int64) {
	name := "budget " + s.Name + " " + s.Label
	if s.Job != "" {
		name += " of " + s.Job
	}
	// What leases hold now comes back but for what they spend, and the run waits
	// for it: it is no reason to refuse a start.
	committed := s.Spent.Plus(s.AtRisk)
	if s.Limit.Tokens >= 0 {
		x := p.compare(name+", tokens", s.Ref, s.Limit.Tokens, committed.Tokens, leastTokens, p.Total)
		x.Shared, x.Spent, x.Reserved, x.AtRisk = &s, s.Spent.Tokens, s.Reserved.Tokens, s.AtRisk.Tokens
		x.Headroom = max(x.Left-x.Reserved, 0)
		p.Fits = append(p.Fits, x)
	}
	switch {
	case s.Limit.Pico < 0:
	case p.Cost == nil:
		if f.Price == nil && p.ToCall.N > 0 {
			p.NeedsPrice, p.USDRef = true, s.Ref
		}
	default:
		x := p.compare(name+", usd", s.Ref, s.Limit.Pico, int64(committed.Pico), leastUSD, *p.Cost)
		x.Shared, x.Spent, x.Reserved, x.AtRisk = &s, int64(s.Spent.Pico), int64(s.Reserved.Pico), int64(s.AtRisk.Pico)
		x.Headroom = max(x.Left-x.Reserved, 0)
		x.Dollars = true
		p.Fits = append(p.Fits, x)
	}
}

// shortAnswers is the output a run needs even if answers are short: a tenth of
// max_output_tokens each.
func (p *Plan) shortAnswers(f Facts) int64 {
	return min(up(float64(f.MaxOutputTokens)*float64(p.ToCall.N)*0.1), p.Output.P50)
}

func (p *Plan) compare(name, ref string, limit, committed, least int64, fig Figure) Fit {
	x := Fit{Name: name, Ref: ref, Limit: limit, Left: max(limit-committed, 0), Accuracy: fig.Accuracy, Least: least, P50: fig.P50}
	x.FitsP50, x.FitsWorst = fig.P50 <= x.Left, fig.Worst <= x.Left
	remaining := p.Items.N - p.Done.N
	x.Items = remaining
	if !x.FitsP50 {
		x.Items = int64(math.Floor(float64(remaining) * (float64(x.Left) / float64(fig.P50))))
		x.Items = min(x.Items, remaining-1)
		x.Crossing = p.Done.N + x.Items + 1
	}
	return x
}

// Decide returns nil when the run may start, or a *batch.Error of Kind
// BudgetExceeded when a budget is below the P50 estimate. Where nothing is
// known about the length of answers, P50 would be a guess, and a run is refused
// only if even short answers (a tenth of max_output_tokens) pass the budget.
// allowPartial accepts a run of which only a part fits, but not of which
// nothing does. A budget in US dollars without a price is Kind Invalid.
func Decide(p Plan, allowPartial bool) error {
	if p.NeedsPrice {
		return &batch.Error{Kind: batch.Invalid, Ref: p.USDRef, Msg: fmt.Sprintf("no price is known for %s/%s, so budget.usd cannot be held", p.Provider, p.Model),
			Hint: "give task.price, or add the model to prices.yaml"}
	}
	for _, x := range p.Fits {
		if x.Least <= x.Left || allowPartial && x.Items > 0 && x.Left > 0 {
			continue
		}
		return x.refusal(p)
	}
	return nil
}

func (x Fit) refusal(p Plan) error {
	show := func(v int64) string {
		if x.Dollars {
			return dollars(v)
		}
		return group(v)
	}
	what, have := "the p50 estimate", x.P50
	why := ""
	if p.Output.Accuracy == Estimate && x.Least < x.P50 {
		what, have = "the least this run can need", x.Least
		why = ": the input at p50 and a tenth of max_output_tokens for each answer, since no earlier run says how long they are"
	}
	limit := show(x.Limit)
	if x.Left < x.Limit {
		limit = fmt.Sprintf("%s, of which %s is left,", limit, show(x.Left))
	}
	hint := "raise it, or shorten the prompt or max_output_tokens: not one item fits"
	if x.Items > 0 && x.Left > 0 {
		hint = fmt.Sprintf("raise it, or run what fits with --allow-partial (about the first %s items)", group(roundDown(x.Items)))
	}
	return &batch.Error{Kind: batch.BudgetExceeded, Ref: x.Ref, Hint: hint,
		Msg: fmt.Sprintf("%s %s is below %s %s%s", x.Name, limit, what, show(have), why)}
}

// roundDown keeps three digits, so that an estimate does not look counted.
func roundDown(n int64) int64 {
	unit := int64(1)
	for n/unit >= 1000 {
		unit *= 10
	}
	return n / unit * unit
}

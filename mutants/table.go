package main

// Tests that many mutants meet. Patterns of the store's contract name parts
// of it, so that a mutant costs seconds.
func contract(part string) tests {
	return tests{pkg: "internal/store/sqlite", run: "^TestContract$/^" + part + "$"}
}

func simulation() tests {
	return tests{pkg: "internal/lease", run: "^TestSimulation$", args: []string{"-simulation.seeds", "1500"}}
}

func pkg(folder, run string) tests { return tests{pkg: folder, run: run} }

func one(file, old, with string) []edit { return []edit{{file, old, with}} }

const (
	book     = "internal/batch/book.go"
	fit      = "internal/batch/fit.go"
	leases   = "internal/store/sqlite/leases.go"
	takeover = "internal/store/sqlite/takeover.go"
	rows     = "internal/store/sqlite/rows.go"
	shared   = "internal/store/sqlite/budgets.go"
	outcomes = "internal/store/sqlite/outcomes.go"
	cold     = "internal/app/cold.go"
	land     = "internal/lease/land.go"
	start    = "internal/lease/start.go"
)

// all are the planted bugs, those that are noticed fastest first.
func all() []mutant {
	return append(append(append(ground(), protocol()...), edges()...), engine()...)
}

// ground: the book, money, and what has no store.
func ground() []mutant {
	return []mutant{
		{"the book: a second outcome is taken", one(book, "	if b.Done.Get(i) {\n		panic(", "	if b.Done.Get(i) && b.N < 0 {\n		panic("),
			pkg("internal/batch", "^TestBook")},
		{"the book: a start that the lease does not hold", one(book, "if !worst.Within(b.Free()) {", "if b.N < 0 && !worst.Within(b.Free()) {"),
			pkg("internal/batch", "^TestBook")},
		{"the book: what was charged is not spent", one(book, "	b.Spent = b.Spent.Plus(e.Charge)\n", "	if !e.Lost {\n		b.Spent = b.Spent.Plus(e.Charge)\n	}\n"),
			pkg("internal/batch", "^TestBook")},
		{"the book: a take-over gives back what is on the wire", one(book, "Spent: b.Spent, AtRisk: b.Open}", "Spent: b.Spent}"),
			pkg("internal/batch", "^TestBook")},
		{"the book: a take-over does not settle", one(book, "Settlement{Release: b.Reserved, Spent: b.Spent, AtRisk: b.Open}", "Settlement{Release: b.Reserved, AtRisk: b.Open}"),
			pkg("internal/batch", "^TestBook")},
		{"the book: a take-over resets attempts", one(book, "			b.Attempts[i]--\n		}\n		if b.Lost", "			b.Attempts[i] = 0\n		}\n		if b.Lost"),
			pkg("internal/batch", "^TestBook")},
		{"the book: a breach is not seen", one(book, "return !e.Charge.Within(e.Worst)", "return e.Charge.Tokens > e.Worst.Tokens"),
			pkg("internal/batch", "^TestBreach")},
		{"a budget does not count what is at risk", one(fit, "l.Spent.Plus(l.Reserved).Plus(l.AtRisk)", "l.Spent.Plus(l.Reserved)"),
			pkg("internal/batch", "^TestFit")},
		{"a price is rounded down", one("internal/money/price.go", "x, err = Add(x, int64(c.In)-1)", "x, err = Add(x, 0)"),
			pkg("internal/money", "^Test")},
		{"a CSV cell may be a formula", one("internal/sink/cells.go", `		return "'" + s`, `		return s`),
			pkg("internal/sink", "^TestNoCellIsAFormula$")},
		{"a secret is not taken out of texts", one("internal/secret/redact.go", "return r.all.Load().replace(text) }", "return text }"),
			pkg("internal/secret", "^TestNoEncodingSurvives$")},
		{"a file is not synced before it gets its name", one("internal/blob/dir.go", "	err := f.Sync() // guard: SYNCED_FIRST\n", "	var err error\n"),
			pkg("internal/blob", "^TestADraftIsSynced")},
		{"a response has no limit of size", one("internal/provider/exchange.go", "if err == nil && n > most {", "if err == nil && n < 0 {"),
			pkg("internal/provider", "^TestBodyCap$")},
		{"bytes that were written are not counted", one("internal/provider/transport.go", "	c.writes.Add(1)\n", ""),
			pkg("internal/provider", "^Test(Unsent|Uncounted|HTTP2|Closed)")},
		{"redirects are followed", one("internal/provider/exchange.go", "e.via.RoundTrip(req)", "(&http.Client{Transport: e.via}).Do(req)"),
			pkg("internal/provider/providertest", "^TestContract$//^redirect$")},
		{"an item's bytes are not compared with the manifest", one("internal/manifest/items.go", "if Sum(sha256.Sum256(body)) != e.Payload {", "if len(body) < 0 && Sum(sha256.Sum256(body)) != e.Payload {"),
			pkg("internal/manifest", "^TestAChangedByteIsNoticed$")},
	}
}

// protocol: the transactions.
func protocol() []mutant {
	return []mutant{
		{"advance: no fence", one(leases, "AND epoch=?25 AND state=1 -- guard: FENCE", "AND ?25=?25 AND state=1"),
			contract("an advance is fenced")},
		{"advance: a start beyond the lease", one(leases, "AND ?9+?12<=res_retry)) -- guard: WITHIN_LEASE", "AND ?9+?12<=res_retry OR 1)"),
			contract("an advance is guarded")},
		{"advance: the chunk is not written with the outcome", one(leases, "	if x.Chunk != nil {\n		if _, err := tx.exec(ctx, chunkSQL", "	if x.Chunk != nil && x.Starts {\n		if _, err := tx.exec(ctx, chunkSQL"),
			contract("a group keeps what is not refused")},
		{"advance: a group written again stands twice", one(leases, "VALUES (?,?,?,?,?) ON CONFLICT (run_id, shard, epoch, seq) DO NOTHING`\n\nconst failureSQL", "VALUES (?,?,?,?+random()%1000000,?)`\n\nconst failureSQL"),
			contract("a group written twice is harmless")},
		{"top-up: no fence", []edit{
			{shared, "WHERE run_id=? AND shard=? AND epoch=? AND state=1\", ref.Run", "WHERE run_id=? AND shard=? AND ?>0\", ref.Run"},
			{leases, " WHERE run_id=? AND shard=? AND epoch=? AND state=1`, x.Tokens", " WHERE run_id=? AND shard=? AND ?>0`, x.Tokens"}},
			contract("a top-up is all or nothing")},
		{"release: no fence", one(leases, "if s.Ref.Epoch != ref.Epoch || s.State != batch.ShardLeased { // guard: FENCE", "if s.State != batch.ShardLeased {"),
			contract("an advance is fenced")},
		{"release: calls may be on the wire", []edit{
			{leases, "if !s.Book.Open.IsZero() { // guard: NOTHING_OPEN", "if !s.Book.Open.IsZero() && s.Book.N < 0 {"},
			{book, "	if !b.Open.IsZero() {\n		panic", "	if b.N < 0 {\n		panic"}},
			contract("a release settles to the last pico")},
		{"release: no bell for what is open again", one(leases, "	if s.State == batch.ShardOpen && notBefore <= d.now() {\n", "	if s.State == batch.ShardOpen && notBefore < 0 {\n"),
			contract("a release settles to the last pico")},
		{"release: the window does not move on", one(leases, "	if live && r.Opened < r.Shards() {\n", "	if live && r.Opened < 0 {\n"),
			contract("the next shard opens when one is done")},
		{"release: what is parked stays parked", one(leases, "	if frees(settled) || s.State == batch.ShardDone {\n", "	if s.Ref.Shard < 0 {\n"),
			contract("a release frees money for what is parked")},
		{"claim: of an old epoch", one(leases, "if err != nil || s.Ref.Epoch != c.Ref.Epoch || s.State != batch.ShardOpen {", "if err != nil || s.State != batch.ShardOpen {"),
			contract("a claim is a no-op unless all holds")},
		{"claim: of a run that was told to stop", one(leases, "		if r.State != batch.RunRunning || r.Target != \"\" { // guard: RUN_LIVE", "		if r.State != batch.RunRunning {"),
			contract("a target ends a run with and without leases")},
		{"claim: the epoch stays", one(leases, "		s.Ref.Epoch++\n", ""),
			contract("every shard is claimed once")},
		{"reserve: at risk is not counted", []edit{
			{rows, "spent_tok+res_tok+risk_tok+?1<=lim_tok", "spent_tok+res_tok+?1<=lim_tok"},
			{fit, "l.Spent.Plus(l.Reserved).Plus(l.AtRisk)", "l.Spent.Plus(l.Reserved)"}},
			contract("a late answer frees money for what is parked")},
		{"reserve: on the run's budget alone", one(rows, "	for _, l := range ls {\n		r, err := tx.ExecContext", "	for _, l := range ls[:1] {\n		r, err := tx.ExecContext"),
			contract("a claim takes from every level")},
		{"settle: on the run's budget alone", one(rows, "WHERE budget_id IN (SELECT budget_id FROM run_budget WHERE run_id=? AND draw=?)`,\n		s.Release", "WHERE budget_id IN (SELECT budget_id FROM run_budget WHERE run_id=? AND draw=? AND pos=0)`,\n		s.Release"),
			contract("a claim takes from every level")},
		{"settle: in the period of now", one(leases, "settled, draw := s.Book.Settle(), s.Draw\n", "settled, draw := s.Book.Settle(), s.Draw\n		if x, _, err := d.drawNow(ctx, tx, ref.Run); err == nil {\n			draw = x\n		}\n"),
			contract("a lease handed back after midnight settles where it was claimed")},
		{"stop: a run with a live lease is stuck", one(leases, "if err != nil || live > 0 || parked == 0 ||", "if err != nil || parked == 0 ||"),
			contract("nothing fits: parked, and the run stops")},
		{"take-over: the epoch stays", one(takeover, "	s.Ref.Epoch++\n", ""),
			contract("a dead worker is taken over")},
		{"take-over: the lost call is not noted", one(takeover, "	for k, i := range settled.Unknown {\n		if _, err", "	for k, i := range settled.Unknown {\n		if s.Seq < 0 {\n			break\n		}\n		if _, err := tx.exec(ctx, \"DELETE FROM lost WHERE run_id=?\", s.Ref.Run); err != nil {\n			return err\n		}\n		if _, err"),
			contract("the truth is taken once")},
		{"take-over: what is parked stays parked", one(takeover, "	if frees(settled) && r.State == batch.RunRunning && r.Target == \"\" {\n", "	if s.Seq < 0 {\n"),
			contract("a take-over frees money for what is parked")},
		{"take-over: of a worker that is alive", one(takeover, "<= ?`, worker, now-stale)", "<= ?`, worker, now)"),
			contract("a living worker is not taken over")},
		{"audit: a lost bell stays lost", one(takeover, "rung_at<=?\", id, now, before)", "rung_at<?\", id, now, 0)"),
			contract("a lost bell is rung again")},
		{"late: told twice, taken twice", one(takeover, "		if errors.Is(err, sql.ErrNoRows) {\n			return nil\n		}\n", "		if errors.Is(err, sql.ErrNoRows) {\n			err = nil\n		}\n"),
			contract("the truth is taken once")},
		{"late: kept although the item is started again", one(takeover, "free := !sealed && (s.State == batch.ShardOpen || s.State == batch.ShardParked)", "free := !sealed"),
			contract("a late outcome is kept only when the item is free")},
		{"late: kept although the item is done", []edit{
			{takeover, "free && !s.Book.Done.Get(l.Index)", "free"},
			{book, "	if b.Done.Get(i) {\n		panic(", "	if b.Done.Get(i) && b.N < 0 {\n		panic("}},
			contract("a late outcome of what is done is not kept")},
		{"late: what is at risk stays", one(takeover, "batch.Settlement{Spent: l.Charge, AtRisk: money.Amount{}.Minus(l.Worst)}", "batch.Settlement{Spent: l.Charge, AtRisk: money.Amount{}}"),
			contract("the truth is taken once")},
		{"seal: chunks go that came after it was cut", one(outcomes, "AND shard<? AND row<=?\", seg.Run", "AND shard<? AND row<>?+1000000\", seg.Run"),
			contract("a seal switches the pointer and drops what is in it")},
		{"seal: rows of shards go that are not done", one(outcomes, "shard>=? AND shard<? AND state=2\", seg.Run", "shard>=? AND shard<?\", seg.Run"),
			contract("a seal switches the pointer and drops what is in it")},
	}
}

// edges: files, segments, readers, the checker.
func edges() []mutant {
	damages := pkg("internal/app", "^TestVerifyNamesEveryDamage$")
	look := pkg("internal/app", "^Test(AReaderSees|OneSeals|ASealThatFails|TheSameOutcomes|AnotherSegment)")
	return []mutant{
		{"a segment's checksum is not looked at", one(cold, "hex.EncodeToString(sum[:]) != name {", "hex.EncodeToString(sum[:]) == \"\" {"),
			look},
		{"the pointer is switched before the file is there", []edit{
			{cold, "	if seg.Name, err = a.putSegment(ctx, id, outcomes); err != nil {\n		return err\n	}\n", "	sum := sha256.Sum256(outcomes)\n	seg.Name = hex.EncodeToString(sum[:])\n"},
			{cold, "	if old != nil {\n		a.dropSegment(ctx, id, old.Name, seg)", "	if seg.Name, err = a.putSegment(ctx, id, outcomes); err != nil {\n		return err\n	}\n	if old != nil {\n		a.dropSegment(ctx, id, old.Name, seg)"}},
			look},
		{"what was written is not read back", one(cold, "	if _, err := a.segmentBytes(ctx, id, name); err != nil {\n		return \"\"", "	if err := ctx.Err(); err != nil {\n		return \"\""),
			look},
		{"a file is dropped that is pointed at", one(cold, "if name == now.Name || name == now.Attempts { // guard: NOT_POINTED_AT", "if name == now.Attempts {"),
			look},
		{"a reader looks once", one(cold, "		if x.still || (err == nil && x.run.State.Ended()) {", "		if x.still || err == nil {"), look},
		{"a reader gives up", one(cold, "		if x.still || (err == nil && x.run.State.Ended()) {", "		if x.still || err != nil || x.run.State.Ended() {"), look},
		{"a reader compares half of the pointer", one(cold, "*now == *was)", "now.Name == was.Name)"), look},
		{"two seal at a time", one(cold, "	m.(*sync.Mutex).Lock()\n	return m.(*sync.Mutex).Unlock\n", "	return func() { _ = m }\n"), look},
		{"verify does not compare the counts", one("internal/app/verifysums.go", "	if x.ok != c.OK || x.failed != c.Failed {", "	if x.ok < 0 {"),
			damages},
		{"verify takes a second outcome", one("internal/app/verify.go", "		for _, o := range s.twice {", "		for _, o := range s.twice[:0] {"),
			damages},
	}
}

// engine: what one lease does, in memory and with its driver.
func engine() []mutant {
	return []mutant{
		{"a timeout costs nothing", one(land, "		return it.worst, true\n", "		return money.Amount{Retries: retries}, true\n"), simulation()},
		{"unsent although it perhaps ran", one(land, "res.Sent == provider.NotSent && res.Class != batch.ClassOK {", "res.Sent != provider.Answered && res.Class != batch.ClassOK {"), simulation()},
		{"a breach does not stop the run", one(land, "	if breach {\n", "	if breach && m.inAir < 0 {\n"), pkg("internal/worker", "^TestABreachStopsTheRun$")},
		{"an unknown is tried again for nothing", one(land, "Free: res.Class.Traits().Free,", "Free: res.Class.Traits().Free || estimated,"), pkg("internal/worker", "^TestUnknownCallsUseUpAttempts$")},
		{"a call goes out before its start is durable", []edit{
			{start, "	case err != nil:\n		m.cfg.Lane.Put(len(idx))\n		if errors.Is", "	case err != nil && len(idx) == 0:\n		m.cfg.Lane.Put(len(idx))\n		if errors.Is"}}, simulation()},
		{"a fenced holder tells nothing", one("internal/lease/late.go", "	if len(m.out.Late) == 0 {\n", "	if m.out.Late = nil; len(m.out.Late) == 0 {\n"), pkg("internal/worker", "^TestAFencedWorkerTellsTheTruth$")},
		{"a commit is acknowledged before it is durable", one("internal/worker/committer.go", "		errs, err := c.leases.Advance(ctx, ds)\n		if err == nil {", "		errs := make([]error, len(ds))\n		_, err := c.leases.Advance(ctx, ds)\n		if err = error(nil); err == nil {"),
			tests{pkg: "internal/worker", run: "^TestAStoreThatFailsForAWhileLosesNothing$/before", args: []string{"-timeout", "40s"}}},
	}
}

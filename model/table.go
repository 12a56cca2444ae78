package main

// subjects are the models at their sizes, large ones first, and each planted
// bug with the assertions that are there to find it.
func subjects(deep bool) []subject {
	correct := []subject{
		{file: "money.pml", defines: []string{"NS=1", "NI=2", "UNSENT=0"}},
		{file: "money.pml", defines: []string{"NS=2", "NI=1", "REPEATS=0"}},
		{file: "bell.pml", live: true},
		{file: "budget.pml", defines: []string{"CALLS=2", "CLAIMS=2"}},
		{file: "seal.pml"},
	}
	if deep {
		correct = []subject{
			{file: "money.pml", defines: []string{"NS=1", "NI=2"}},
			{file: "money.pml", defines: []string{"NS=1", "NI=2", "CLAIMS=4", "REPEATS=0", "UNSENT=0"}},
			{file: "money.pml", defines: []string{"NS=2", "NI=1", "CRASHES=2"}},
			{file: "money.pml", defines: []string{"NW=3", "NS=1", "NI=2", "TIMEOUTS=0", "UNSENT=0", "REPEATS=0"}},
			{file: "money.pml", defines: []string{"NS=1", "NI=3", "LIM=7", "CLAIMS=2", "UNSENT=0"}},
			{file: "bell.pml", defines: []string{"CRASHES=2", "LOSSES=2"}, live: true},
			{file: "budget.pml"},
			{file: "budget.pml", defines: []string{"CHANGES=2", "CLAIMS=2"}},
			{file: "seal.pml", defines: []string{"K=4", "SETS=16", "CRASHES=3"}},
		}
	}
	return append(correct, planted()...)
}

func planted() []subject {
	var all []subject
	for _, t := range []struct {
		file, bug string
		live      bool
		expect    []string
	}{
		{"money.pml", "BUG_NO_FENCE", false, []string{"I4_lease", "I4_sums", "I4_bill", "I1_kept"}},
		{"money.pml", "BUG_SAME_EPOCH", false, []string{"I1_kept", "I2_once", "I4_sums"}},
		{"money.pml", "BUG_TOPUP_NO_FENCE", false, []string{"I4_sums"}},
		{"money.pml", "BUG_RELEASE_ON_TAKEOVER", false, []string{"I4_sums", "I4_bill"}},
		{"money.pml", "BUG_NO_SETTLE", false, []string{"I4_bill"}},
		{"money.pml", "BUG_CHECK_THEN_RESERVE", false, []string{"I4_limit"}},
		{"money.pml", "BUG_OVERDRAW", false, []string{"I4_lease"}},
		{"money.pml", "BUG_TIMEOUT_FREE", false, []string{"I4_bill"}},
		{"money.pml", "BUG_SEND_FIRST", false, []string{"I4_bill", "I3_calls"}},
		{"money.pml", "BUG_UNSEND_AFTER_A_BYTE", false, []string{"I3_calls", "I4_bill"}},
		{"money.pml", "BUG_SPLIT_COMMIT", false, []string{"I1_kept"}},
		{"money.pml", "BUG_RELATIVE_WRITE", false, []string{"I4_lease", "I4_bill"}},
		{"money.pml", "BUG_CHUNK_TWICE", false, []string{"I2_once"}},
		{"money.pml", "BUG_LATE_TWICE", false, []string{"I4_limit", "I4_sums"}},
		{"money.pml", "BUG_LATE_WHILE_LEASED", false, []string{"I1_kept", "I2_once"}},
		{"money.pml", "BUG_LATE_ON_DONE", false, []string{"I2_once"}},
		{"budget.pml", "BUG_TOPUP_RUN_ONLY", false, []string{"I4_sums"}},
		{"budget.pml", "BUG_PARTIAL_RESERVE", false, []string{"I4_sums"}},
		{"budget.pml", "BUG_SETTLE_RUN_ONLY", false, []string{"I4_sums"}},
		{"budget.pml", "BUG_LATE_RUN_ONLY", false, []string{"I4_sums"}},
		{"budget.pml", "BUG_SETTLE_TODAY", false, []string{"I4_limit", "I4_sums"}},
		{"budget.pml", "BUG_LATE_TODAY", false, []string{"I4_limit", "I4_sums"}},
		{"budget.pml", "BUG_TOPUP_TODAY", false, []string{"I4_sums"}},
		{"budget.pml", "BUG_LOWERED_IS_HEADROOM", false, []string{"I4_limit"}},
		{"budget.pml", "BUG_STALE_LIMIT", false, []string{"I4_limit"}},
		{"seal.pml", "BUG_DELETE_BEFORE_POINTER", false, []string{"I1_kept"}},
		{"seal.pml", "BUG_DELETE_LATER", false, []string{"I2_seen_once"}},
		{"seal.pml", "BUG_DELETE_ALL", false, []string{"I1_kept"}},
		{"seal.pml", "BUG_POINTER_BEFORE_FILE", false, []string{"I9_whole"}},
		{"seal.pml", "BUG_POINTER_BEFORE_SYNC", false, []string{"I9_whole"}},
		{"seal.pml", "BUG_DROP_WHAT_IS_POINTED_AT", false, []string{"I9_whole"}},
		{"seal.pml", "BUG_READER_LOOKS_ONCE", false, []string{"I2_seen_once"}},
		{"seal.pml", "BUG_READER_GIVES_UP", false, []string{"I9_whole"}},
		{"seal.pml", "BUG_TWO_SEALERS", false, []string{"I1_kept"}},
		{"bell.pml", "BUG_NO_AUDIT", true, []string{"cycle"}},
		{"bell.pml", "BUG_NO_REAP", true, []string{"cycle"}},
		{"bell.pml", "BUG_FINISH_NOT_AUDITED", true, []string{"cycle"}},
		{"bell.pml", "BUG_NO_UNPARK", true, []string{"I14_stop_is_right", "cycle"}},
		{"bell.pml", "BUG_TAKE_OVER_KEEPS_PARKED", true, []string{"I14_stop_is_right"}},
		{"bell.pml", "BUG_STOP_WHILE_LEASED", true, []string{"I14_stop_is_right"}},
	} {
		all = append(all, subject{file: t.file, bug: t.bug, live: t.live, expect: t.expect})
	}
	return all
}

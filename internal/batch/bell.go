package batch

// Bell tells a worker that there may be something to do. It carries no truth:
// whoever hears it looks at the store, and a stale bell is a no-op. A lost one
// is rung again by the audit.
type Bell struct {
	Kind  BellKind `json:"kind"`
	Run   RunID    `json:"run"`
	N     int64    `json:"n"`     // the shard (work) or the stretch (seal); 0 for finish
	Epoch Epoch    `json:"epoch"` // of the shard when the bell was rung
	Queue string   `json:"-"`     // high | best-effort, for work
}

// BellKind says what there may be to do.
type BellKind string

// The kinds of bell.
const (
	BellWork   BellKind = "work"   // a shard is open at this epoch
	BellSeal   BellKind = "seal"   // all shards of a stretch are done
	BellFinish BellKind = "finish" // the run may have come to its end
)

package cli

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
)

// demoJob is the demo's spec. The simulator's settings stand in options.
const demoJob = `# The job of batchwright demo. It can be run again and changed:
#   batchwright run job.yaml
version: 1

job:
  id: demo
  batch_size: 20
  max_attempts: 4
  token_budget: 200000
  timeout_ms: 10000

input:
  uri: reviews.jsonl
  id: id

task:
  provider: sim
  model: sim-1               # built in: no key, no network, nothing to pay
  prompt: |
    Is this review positive, negative or mixed?

    {{ text }}
  max_output_tokens: 80
  schema:
    type: object
    additionalProperties: false
    required: [sentiment]
    properties:
      sentiment: {enum: [positive, negative, mixed]}
  options:
    latency: "lognormal:280ms:0.3"
    faults: "429:0.04,500:0.01,badjson:0.01,poison=POISON"

budget:
  usd: 0.05

pacing:
  concurrency: 8

failure_threshold: 5%

output:
  uri: out
`

// reviews are made from a few words; one of them the provider never accepts.
func reviews(n int, seed uint64) []byte {
	r := rand.New(rand.NewPCG(seed, 0))
	pick := func(from ...string) string { return from[r.IntN(len(from))] }
	var out bytes.Buffer
	e := json.NewEncoder(&out)
	for i := range n {
		text := fmt.Sprintf("%s %s %s. %s", pick("The", "My new", "This", "Our second"),
			pick("kettle", "backpack", "desk lamp", "keyboard", "coffee grinder", "bike light", "rain jacket", "headset"),
			pick("works as described", "stopped working after a week", "is louder than I hoped", "arrived with a scratch", "is the best I have owned",
				"does what it should", "feels cheap but holds", "was delivered a day early"),
			pick("Would buy it again.", "Sending it back.", "Three stars.", "The manual could be better.", "Support was friendly.", "My sister wants one, too.", "Not for this price."))
		text += fmt.Sprintf(" Order %05d.", 10_000+i*7)
		if i == n*21/100 {
			text = "POISON: a text that the provider refuses every time."
		}
		// A map of two strings always encodes, and its keys come out sorted.
		_ = e.Encode(map[string]string{"id": fmt.Sprintf("rev-%04d", i+1), "text": text})
	}
	return out.Bytes()
}

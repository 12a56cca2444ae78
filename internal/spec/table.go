package spec

import (
	"encoding/json"
	"time"

	"github.com/batchwright/batchwright/internal/money"
)

const (
	maxInt       = 1<<53 - 1 // the largest whole number every JSON reader keeps exact
	maxInstances = 10_000
)

// orNil hides what is not set from canonical forms.
func orNil[T comparable](v T) any {
	var zero T
	if v == zero {
		return nil
	}
	return v
}

// limitOrNil hides "no limit".
func limitOrNil(n int64) any {
	if n < 0 {
		return nil
	}
	return n
}

func listOrNil[T any](v []T) any {
	if len(v) == 0 {
		return nil
	}
	return v
}

func mapOrNil[T any](v map[string]T) any {
	if len(v) == 0 {
		return nil
	}
	return v
}

func rawOrNil(v json.RawMessage) any {
	if len(v) == 0 {
		return nil
	}
	return v
}

var topKeys = []key{
	{path: "version", kind: kInt, def: "1", min: 1, max: 1, example: "1",
		doc: "Version of the spec's form.",
		set: func(s *Spec, v value) { s.Version = int(v.n) }, get: func(s *Spec) any { return s.Version }},
	{path: "job", kind: kSection, need: true, doc: "What the job is called and when and how it runs. Every other section may also stand in here."},
	{path: "timezone", kind: kTimezone, floats: true, example: "Europe/Berlin", wrong: []string{"tz", "time_zone", "zone"},
		doc: "Zone of schedule and of a clock-time deadline, by its tz database name. UTC when left out.",
		set: func(s *Spec, v value) { s.Timezone = v.text }, get: func(s *Spec) any { return orNil(s.Timezone) }},
	{path: "queue", kind: kEnum, floats: true, def: "best-effort", enum: []string{"high", "best-effort"}, example: "high", wrong: []string{"priority"},
		doc: "Which runs go first when several want to: high before best-effort.",
		set: func(s *Spec, v value) { s.Queue = v.text }, get: func(s *Spec) any { return s.Queue }},
	{path: "input", kind: kSection, floats: true, wrong: []string{"source", "data", "dataset", "inputs"}, doc: "Where the items come from."},
	{path: "task", kind: kSection, floats: true, need: true, wrong: []string{"model", "llm", "step", "steps"}, doc: "What is asked of the model for every item."},
	{path: "output", kind: kSection, floats: true, wrong: []string{"sink", "destination", "outputs", "results"}, doc: "Where results go."},
	{path: "budget", kind: kSection, floats: true, wrong: []string{"cost", "max_cost", "spend"}, doc: "What a run may use at most. A run stops before it passes a limit, never after."},
	{path: "pacing", kind: kSection, floats: true, wrong: []string{"rate", "rate_limit", "rate_limits", "limits"}, doc: "How fast calls may go."},
	{path: "deadline", kind: kDeadline, floats: true, example: "2h30m", wrong: []string{"max_duration", "run_timeout"},
		doc: "When a run must stop: a duration after its start (`2h30m`) or a clock time in timezone (`04:30`). Left out: never.",
		set: func(s *Spec, v value) { s.Deadline = v.until }, get: deadlineText},
	{path: "sla", kind: kDeadline, floats: true, same: "deadline", example: "04:30", doc: "Another name of deadline.",
		set: func(s *Spec, v value) { s.Deadline = v.until }, get: deadlineText},
	{path: "failure_threshold", kind: kShare, floats: true, def: "0", example: "5%", wrong: []string{"max_failures", "error_threshold", "failure_rate", "max_failed"},
		doc: "The share of failed items up to which a run still counts as succeeded: 0 to 1, or a percentage.",
		set: func(s *Spec, v value) { s.FailureThresholdPPM = v.n }, get: func(s *Spec) any { return json.RawMessage(ppmText(s.FailureThresholdPPM)) }},
	{path: "dedupe", kind: kBool, floats: true, work: true, def: "true", example: "false", wrong: []string{"deduplicate", "dedup"},
		doc: "Call the provider once for items whose requests are identical.",
		set: func(s *Spec, v value) { s.Dedupe = v.yes }, get: func(s *Spec) any { return s.Dedupe }},
	{path: "cache", kind: kEnum, floats: true, def: "off", enum: []string{"off", "reuse"}, example: "reuse",
		doc: "reuse takes the answer of an earlier run to the identical request instead of paying again.",
		set: func(s *Spec, v value) { s.Cache = v.text }, get: func(s *Spec) any { return s.Cache }},
	{path: "evaluate", kind: kSection, floats: true, wrong: []string{"eval", "evaluation"}, doc: "Compare answers with labels that the items carry."},
	{path: "alerts", kind: kJSONMap, floats: true, example: "{failed_share: 0.1}", wrong: []string{"alert", "alerting", "notifications"},
		doc: "Rules that send an alert.",
		set: func(s *Spec, v value) { s.Alerts = v.raw }, get: func(s *Spec) any { return rawOrNil(s.Alerts) }},
	{path: "tests", kind: kList, floats: true, wrong: []string{"test", "cases"}, doc: "Canned cases for the prompt; they call no provider."},
	{path: "labels", kind: kTextMap, floats: true, example: "{team: support}", wrong: []string{"tags", "annotations", "metadata"},
		doc: "Names and texts that reports and metrics carry along.",
		set: func(s *Spec, v value) { s.Labels = v.pairs }, get: func(s *Spec) any { return mapOrNil(s.Labels) }},
	{path: "owners", kind: kTexts, floats: true, example: "[support-ml@example.com]", wrong: []string{"owner", "maintainers"},
		doc: "Who answers for the job.",
		set: func(s *Spec, v value) { s.Owners = v.texts }, get: func(s *Spec) any { return listOrNil(s.Owners) }},
	{path: "on_bad_item", kind: kEnum, floats: true, same: "input.on_bad_item", enum: badItemWays, example: "quarantine",
		doc: "Another place for input.on_bad_item.",
		set: func(s *Spec, v value) { s.Input.OnBadItem = v.text }, get: func(s *Spec) any { return s.Input.OnBadItem }},
}

var badItemWays = []string{"fail", "quarantine"}

func deadlineText(s *Spec) any {
	if s.Deadline.At != "" {
		return s.Deadline.At
	}
	if s.Deadline.After != 0 {
		return s.Deadline.After.String()
	}
	return nil
}

var jobKeys = []key{
	{path: "job.id", kind: kName, need: true, work: true, example: "nightly-support-summaries", wrong: []string{"name", "job_id", "title"},
		doc: "The job's name: 1 to 128 letters, digits, dots, dashes and underscores, beginning with a letter or a digit.",
		set: func(s *Spec, v value) { s.Job = v.text }, get: func(s *Spec) any { return s.Job }},
	{path: "job.schedule", kind: kSchedule, example: `"0 2 * * *"`, wrong: []string{"cron", "crontab", "every", "interval"},
		doc: "When runs start by themselves: five cron fields (minute hour day month weekday) or @hourly, @daily, @weekly, @monthly, @yearly.",
		set: func(s *Spec, v value) { s.Schedule = v.text }, get: func(s *Spec) any { return orNil(s.Schedule) }},
	{path: "job.batch_size", kind: kInt, work: true, def: "50", min: 1, max: 10_000, example: "50", wrong: []string{"shard_size", "chunk_size", "batch"},
		doc: "Items per shard: what one worker claims at once.",
		set: func(s *Spec, v value) { s.BatchSize = int(v.n) }, get: func(s *Spec) any { return s.BatchSize }},
	{path: "job.max_attempts", kind: kInt, def: "3", min: 1, max: 100, example: "3", wrong: []string{"retries", "max_retries", "attempts", "retry"},
		doc: "Attempts per item, the first one included. Being rate limited does not count.",
		set: func(s *Spec, v value) { s.MaxAttempts = int(v.n) }, get: func(s *Spec) any { return s.MaxAttempts }},
	{path: "job.timeout_ms", kind: kInt, def: "120000", min: 100, max: 86_400_000, example: "120000", wrong: []string{"timeout", "timeout_s", "timeout_seconds", "request_timeout"},
		doc: "Milliseconds one attempt may take.",
		set: func(s *Spec, v value) { s.Timeout = time.Duration(v.n) * time.Millisecond },
		get: func(s *Spec) any { return s.Timeout.Milliseconds() }},
	{path: "job.token_budget", kind: kInt, same: "budget.tokens", min: 1, max: maxInt, example: "150000",
		doc: "Another place for budget.tokens.",
		set: func(s *Spec, v value) { s.Budget.Tokens = v.n }, get: func(s *Spec) any { return limitOrNil(s.Budget.Tokens) }},
	{path: "job.notification_channel", kind: kText, example: `"#ai-batch-alerts"`, wrong: []string{"channel", "notify", "slack_channel", "notification"},
		doc: "Where alerts about the job go when no rule says otherwise.",
		set: func(s *Spec, v value) { s.NotificationChannel = v.text }, get: func(s *Spec) any { return orNil(s.NotificationChannel) }},
	{path: "job.input_manifest_s3_uri", kind: kInputURI, same: "input.uri", example: "s3://bucket/tickets/2026-11-23.jsonl", wrong: []string{"manifest", "input_manifest", "s3_uri"},
		doc: "Another place for input.uri; not only for S3.",
		set: func(s *Spec, v value) { s.Input.URI = v.text }, get: func(s *Spec) any { return orNil(s.Input.URI) }},
}

var outputKeys = []key{
	{path: "output.uri", kind: kOutputURI, example: "out/{run_id}", wrong: []string{"path", "dir", "url", "file", "output_uri"},
		doc: "Folder or blob URI (file://, s3://, gs://, azblob://) that results are written to; `{run_id}` and `{job}` are replaced.",
		set: func(s *Spec, v value) { s.Output.URI = v.text }, get: func(s *Spec) any { return orNil(s.Output.URI) }},
	{path: "output.format", kind: kEnums, def: "jsonl", enum: []string{"jsonl", "parquet", "csv"}, example: "[jsonl, parquet]", wrong: []string{"formats", "type"},
		doc: "Forms of the results; jsonl is always written.",
		set: func(s *Spec, v value) { s.Output.Format = v.texts }, get: func(s *Spec) any { return listOrNil(s.Output.Format) }},
	{path: "output.layout", kind: kText, later: []string{"*"}, example: "flat",
		doc: "How files are laid out below output.uri.",
		set: func(s *Spec, v value) { s.Output.Layout = v.text }, get: func(s *Spec) any { return orNil(s.Output.Layout) }},
}

var limitKeys = []key{
	{path: "budget.tokens", kind: kInt, min: 1, max: maxInt, example: "150000", wrong: []string{"max_tokens", "token_budget", "token_limit"},
		doc: "Input plus output tokens of the whole run. Left out: no limit.",
		set: func(s *Spec, v value) { s.Budget.Tokens = v.n }, get: func(s *Spec) any { return limitOrNil(s.Budget.Tokens) }},
	{path: "budget.usd", kind: kUSD, example: "5.00", wrong: []string{"dollars", "cost", "max_usd", "max_cost", "amount"},
		doc: "US dollars of the whole run, read exactly (up to 12 decimals). Left out: no limit.",
		set: func(s *Spec, v value) { s.Budget.Pico = v.n }, get: usdText},
	{path: "budget.item_tokens", kind: kInt, min: 1, max: maxInt, example: "8000", wrong: []string{"tokens_per_item", "max_item_tokens"},
		doc: "Tokens one item may use over all its attempts. Left out: no limit.",
		set: func(s *Spec, v value) { s.Budget.ItemTokens = v.n }, get: func(s *Spec) any { return limitOrNil(s.Budget.ItemTokens) }},
	{path: "budget.retries", kind: kInt, min: 0, max: maxInt, example: "500", wrong: []string{"max_retries", "retry"},
		doc: "Attempts beyond every item's first in the whole run. Left out: no limit but max_attempts.",
		set: func(s *Spec, v value) { s.Budget.Retries = v.n }, get: func(s *Spec) any { return limitOrNil(s.Budget.Retries) }},
	{path: "pacing.rpm", kind: kInt, min: 1, max: maxInt, example: "500", wrong: []string{"requests_per_minute", "max_rpm", "rps"},
		doc: "Requests per minute. Left out: what the provider's answers allow.",
		set: func(s *Spec, v value) { s.Pacing.RPM = v.n }, get: func(s *Spec) any { return orNil(s.Pacing.RPM) }},
	{path: "pacing.tpm", kind: kInt, min: 1, max: maxInt, example: "200000", wrong: []string{"tokens_per_minute", "max_tpm"},
		doc: "Tokens per minute. Left out: what the provider's answers allow.",
		set: func(s *Spec, v value) { s.Pacing.TPM = v.n }, get: func(s *Spec) any { return orNil(s.Pacing.TPM) }},
	{path: "pacing.concurrency", kind: kConcurrency, min: 1, max: maxInstances, example: "32", wrong: []string{"max_concurrency", "parallelism", "workers", "threads", "parallel"},
		doc: "Calls in flight: a number is the most; min and max set both ends.",
		set: func(s *Spec, v value) { s.Pacing.MaxConcurrency = int(v.n) }},
	{path: "pacing.concurrency.min", kind: kInt, def: "1", min: 1, max: maxInstances, example: "1",
		doc: "Calls in flight that are allowed however often the provider asks to slow down.",
		set: func(s *Spec, v value) { s.Pacing.MinConcurrency = int(v.n) }, get: func(s *Spec) any { return s.Pacing.MinConcurrency }},
	{path: "pacing.concurrency.max", kind: kInt, def: "16", min: 1, max: maxInstances, example: "64",
		doc: "The most calls in flight.",
		set: func(s *Spec, v value) { s.Pacing.MaxConcurrency = int(v.n) }, get: func(s *Spec) any { return s.Pacing.MaxConcurrency }},
}

func usdText(s *Spec) any {
	if s.Budget.Pico < 0 {
		return nil
	}
	return json.RawMessage(money.PicoUSD(s.Budget.Pico).String())
}

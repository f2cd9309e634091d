"""A simulator that does what its first argument says; by itself it knows that a token takes 8 ms and a prompt 80."""
# ruff: noqa: T201 - what it prints is its answer

import json
import os
import sys
import time

BEHAVIOUR = sys.argv[1] if len(sys.argv) > 1 else "right"
VALUES = {"ttft_mean": 80.0, "itl_ratio_of_means": 8.0, "e2e_mean": 1600.0}


def metrics(scale=1.0, unit="ms", **changed):
    return {name: {"value": changed.get(name, value) * scale, "unit": unit} for name, value in VALUES.items()}


def say(question, **answer):
    print(json.dumps({"id": question["id"], **answer}), flush=True)


def crash():
    print("segmentation fault, as it were", file=sys.stderr)
    os._exit(7)


# What is done in place of the right answer to the third question of a process.
INSTEAD = {
    "crashes": lambda question: crash(),
    "hangs": lambda question: time.sleep(3600),
    "silent": lambda question: None,
    "rubbish": lambda question: print("Loading weights: 100 %", flush=True),
    "nan": lambda question: say(question, metrics=metrics(ttft_mean=float("nan"))),
    "seconds": lambda question: say(question, metrics=metrics(scale=1e-3)),
    "seconds_said": lambda question: say(question, metrics=metrics(scale=1e-3, unit="s")),
    "saturated": lambda question: say(question, metrics=metrics(), saturated=True),
    "unsupported": lambda question: say(question, status="unsupported", reason="no data for this GPU"),
    "twice": lambda question: [say(question, metrics=metrics(ttft_mean=ttft)) for ttft in (80.0, 90.0)],
}


def respond(question, place):
    """Answer, or do what is not asked for; `place` counts the questions of this process from 1."""
    if place == 3 and BEHAVIOUR in INSTEAD:
        INSTEAD[BEHAVIOUR](question)
    else:
        say(question, metrics=metrics())


if "--version" in sys.argv:
    print("fake 1.0")
else:
    for number, line in enumerate(sys.stdin, start=1):
        respond(json.loads(line), number)

"""Serve a small real language model on a loopback port, OpenAI-compatible.

It runs llama.cpp's own HTTP server (chat completions, json_schema output)
inside this process until it is sent SIGTERM or SIGINT, or until the process
that started it is gone: a demo must never leave a server behind.
"""

import argparse
import os
import signal
import sys
import threading

import xllamacpp


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", required=True, help="path of a GGUF file")
    parser.add_argument("--alias", required=True, help="model name that requests use")
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--slots", type=int, default=2, help="requests worked at once")
    parser.add_argument("--context", type=int, default=2048, help="tokens per slot")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 2)
    return parser.parse_args()


def main():
    arguments = parse_arguments()
    params = xllamacpp.CommonParams()
    params.model.path = arguments.model
    params.model_alias = [arguments.alias]
    params.hostnames = ["127.0.0.1"]
    params.port = arguments.port
    params.n_parallel = arguments.slots
    params.n_ctx = arguments.context * arguments.slots
    params.cpuparams.n_threads = arguments.threads
    params.cpuparams_batch.n_threads = arguments.threads
    # The model is a base model: it goes on with a text and knows no turns. So
    # the messages of a chat are its text as they are, with nothing in between.
    params.chat_template = "{{ bos_token }}{% for m in messages %}{{ m.content }}{% endfor %}"
    params.use_jinja = True
    # Without the full cache of the sliding windows the examples that every
    # prompt begins with are computed again for every item: five times slower.
    params.swa_full = True
    params.warmup = True

    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())

    parent = os.getppid()
    server = xllamacpp.Server(params)
    print(f"serving {arguments.alias} on {server.listening_address}", flush=True)
    while not stop.wait(1.0):
        if os.getppid() != parent:
            break
    # The server's own threads do not join in bounded time; the process has
    # nothing to save, so it leaves at once.
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()

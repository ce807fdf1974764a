"""Calls a graph without pause and keeps a ledger of its answers, until its standard input ends.

    python ledger.py HOST:PORT

Each answer must carry the same value from two nodes of the graph. Prints the ledger as JSON.
"""

import collections
import json
import sys
import threading

import grpc

AT_ONCE = 32


def main(target):
    versions = collections.Counter()
    problems = collections.Counter()
    stop = threading.Event()
    lock = threading.Lock()

    def note(future):
        error = future.exception()
        with lock:
            if error is not None:
                problems[f"{error.code().name}: {error.details()}"] += 1
                return
            answer = json.loads(future.result())
            if answer["first"] != answer["second"]:
                problems[f"mixed: {answer}"] += 1
            versions[answer["first"]] += 1

    with grpc.insecure_channel(target) as channel:
        call = channel.unary_unary("/swap.Swap/Read")
        slots = threading.Semaphore(AT_ONCE)

        def done(future):
            note(future)
            slots.release()

        def drive():
            while not stop.is_set():
                slots.acquire()
                call.future(b"{}", timeout=30).add_done_callback(done)
            for _ in range(AT_ONCE):
                slots.acquire()

        driver = threading.Thread(target=drive)
        driver.start()
        sys.stdin.read()
        stop.set()
        driver.join()
    print(json.dumps({"versions": versions, "problems": problems}))


if __name__ == "__main__":
    main(sys.argv[1])

"""Calls the echo graph with grpcio, knowing of the server only what the README says.

    python echo.py HOST:PORT

Prints how many calls it made, as JSON.
"""

import json
import sys

import grpc

MEGABYTE = 1 << 20


def main(target):
    calls = 0
    with grpc.insecure_channel(target) as channel:
        say = channel.unary_unary("/echo.Echo/Say")
        for message in [b"", b"hello", bytes(range(256)), b"x" * MEGABYTE]:
            reply, call = say.with_call(message, timeout=10, metadata=[("x-request-id", "py-1")])
            assert reply == message, f"{len(message)} bytes came back as {len(reply)}"
            assert call.code() is grpc.StatusCode.OK, call.code()
            calls += 1

        # Many at once over one connection, each with its own answer.
        pending = [(n, say.future(b"%d" % n, timeout=10)) for n in range(200)]
        for n, future in pending:
            assert future.result() == b"%d" % n
            calls += 1
    print(json.dumps({"calls": calls}))


if __name__ == "__main__":
    main(sys.argv[1])

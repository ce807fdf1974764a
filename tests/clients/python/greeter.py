"""Calls the deployed greeter once for each line it reads, and prints what it heard, as JSON.

    python greeter.py HOST:PORT

All calls go over one channel, and it knows of the service what reflection said at the first.
"""

import json
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "myapp.Greeter"


def method(channel):
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    described = pool.FindServiceByName(SERVICE).FindMethodByName("greet")
    request, response = (message_factory.GetMessageClass(kind) for kind in (described.input_type, described.output_type))
    greet = channel.unary_unary(
        f"/{SERVICE}/greet", request_serializer=request.SerializeToString, response_deserializer=response.FromString
    )
    return lambda name: json_format.MessageToDict(greet(request(name=name), timeout=10))


def main(target):
    with grpc.insecure_channel(target) as channel:
        greet = None
        for _ in sys.stdin:
            greet = greet or method(channel)
            try:
                heard = greet("Ada")
            except grpc.RpcError as error:
                heard = error.code().name
            print(json.dumps({"grpcio": heard}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])

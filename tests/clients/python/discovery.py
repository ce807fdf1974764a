"""Watches health and asks reflection with grpcio's own packages while a package is deployed and undeployed.

    python discovery.py HOST:PORT ADMIN-HOST:PORT PACKAGE

The package is one of the service shop.Orders. Prints what the watch heard, as JSON.
"""

import json
import queue
import sys
import threading
import urllib.request

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase

SERVICE = "shop.Orders"


def admin(method, url, body=None):
    kind = {"content-type": "application/octet-stream"}
    request = urllib.request.Request(url, data=body, method=method, headers=kind)
    with urllib.request.urlopen(request, timeout=30) as answer:
        assert 200 <= answer.status < 300, answer.status


def watch(stub, heard):
    try:
        for update in stub.Watch(health_pb2.HealthCheckRequest(service=SERVICE)):
            heard.put(health_pb2.HealthCheckResponse.ServingStatus.Name(update.status))
    except grpc.RpcError as error:
        heard.put(error.code().name)


def call(channel):
    """Calls the service knowing nothing of it but what reflection says."""
    pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
    method = pool.FindServiceByName(SERVICE).FindMethodByName("place")
    kinds = [message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type)]
    place = channel.unary_unary(
        f"/{SERVICE}/place", request_serializer=kinds[0].SerializeToString, response_deserializer=kinds[1].FromString
    )
    return json_format.MessageToDict(place(kinds[0](item="x"), timeout=10))


def main(target, control, package):
    heard, told = queue.Queue(), []
    with open(package, "rb") as file:
        archive = file.read()
    with grpc.insecure_channel(target) as channel:
        stub = health_pb2_grpc.HealthStub(channel)
        watching = threading.Thread(target=watch, args=(stub, heard), daemon=True)
        watching.start()
        told.append(heard.get(timeout=10))
        services = lambda: ProtoReflectionDescriptorDatabase(channel).get_services()
        assert SERVICE not in services()
        for _ in range(3):
            admin("POST", f"http://{control}/api/v1/packages/deploy", archive)
            told.append(heard.get(timeout=10))
            assert SERVICE in services()
            check = stub.Check(health_pb2.HealthCheckRequest(service=SERVICE), timeout=10)
            assert check.status == health_pb2.HealthCheckResponse.SERVING, check
            assert call(channel) == {"said": "hello"}
            admin("DELETE", f"http://{control}/api/v1/packages/{SERVICE}.v1")
            told.append(heard.get(timeout=10))
            assert SERVICE not in services()
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:])

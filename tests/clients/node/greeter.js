// Calls the deployed greeter by each client and protocol once for each line it reads, and prints what each
// of them heard, as JSON.
//
//     node greeter.js HOST:PORT DESCRIPTORS
//
// Each keeps its connections from one line to the next.

const fs = require("node:fs");
const readline = require("node:readline");
const { create, createFileRegistry, fromBinary, toBinary, toJson } = require("@bufbuild/protobuf");
const { FileDescriptorSetSchema } = require("@bufbuild/protobuf/wkt");
const { Code, ConnectError, createClient } = require("@connectrpc/connect");
const node = require("@connectrpc/connect-node");
const web = require("@connectrpc/connect-web");
const grpc = require("@grpc/grpc-js");

const timeoutMs = 10_000;
const request = { name: "Ada" };

// grpc-js brings no messages of its own.
function byGrpcJs(target, method) {
  const client = new grpc.Client(target, grpc.credentials.createInsecure());
  const serialize = (message) => Buffer.from(toBinary(method.input, create(method.input, message)));
  const deserialize = (bytes) => fromBinary(method.output, bytes);
  const path = `/${method.parent.typeName}/${method.name}`;
  return () =>
    new Promise((resolve, reject) => {
      const options = { deadline: Date.now() + timeoutMs };
      client.makeUnaryRequest(path, serialize, deserialize, request, new grpc.Metadata(), options, (error, reply) =>
        error ? reject(error) : resolve(reply),
      );
    });
}

function callers(target, service) {
  const baseUrl = `http://${target}`;
  const transports = {
    "connect-node, Connect, JSON": node.createConnectTransport({ baseUrl, httpVersion: "1.1", useBinaryFormat: false }),
    "connect-node, Connect, GET": node.createConnectTransport({ baseUrl, httpVersion: "1.1", useHttpGet: true }),
    "connect-node, Connect": node.createConnectTransport({ baseUrl, httpVersion: "2" }),
    "connect-node, gRPC": node.createGrpcTransport({ baseUrl }),
    "connect-node, gRPC-Web": node.createGrpcWebTransport({ baseUrl, httpVersion: "1.1" }),
    "connect-web, Connect": web.createConnectTransport({ baseUrl }),
    "connect-web, gRPC-Web": web.createGrpcWebTransport({ baseUrl }),
    "connect-web, gRPC-Web, JSON": web.createGrpcWebTransport({ baseUrl, useBinaryFormat: false }),
  };
  const all = { "grpc-js": byGrpcJs(target, service.method.greet) };
  for (const [name, transport] of Object.entries(transports)) {
    const client = createClient(service, transport);
    all[name] = () => client.greet(request, { timeoutMs });
  }
  return all;
}

async function main(target, descriptors) {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, fs.readFileSync(descriptors)));
  const service = registry.getService("myapp.Greeter");
  const all = callers(target, service);
  for await (const _ of readline.createInterface({ input: process.stdin })) {
    const heard = {};
    for (const [name, call] of Object.entries(all)) {
      try {
        heard[name] = toJson(service.method.greet.output, await call());
      } catch (error) {
        heard[name] = error instanceof ConnectError ? Code[error.code].toUpperCase() : grpc.status[error.code];
      }
    }
    console.log(JSON.stringify(heard));
  }
  process.exit(0);
}

main(...process.argv.slice(2));

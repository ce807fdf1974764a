// Calls the services of greet.proto with connect-node and connect-web, in every protocol and codec they have.
//
//     node connect.js HOST:PORT DESCRIPTORS
//
// Prints how many calls of each protocol it made, as JSON.

const assert = require("node:assert");
const fs = require("node:fs");
const { createFileRegistry, fromBinary } = require("@bufbuild/protobuf");
const { FileDescriptorSetSchema } = require("@bufbuild/protobuf/wkt");
const { Code, ConnectError, createClient } = require("@connectrpc/connect");
const node = require("@connectrpc/connect-node");
const web = require("@connectrpc/connect-web");

const big = "x".repeat(100_000);

function transports(baseUrl) {
  const gzip = { sendCompression: node.compressionGzip, acceptCompression: [node.compressionGzip] };
  const both = [true, false];
  return [
    ...both.flatMap((useBinaryFormat) =>
      ["1.1", "2"].flatMap((httpVersion) => [
        ["connect", node.createConnectTransport({ baseUrl, httpVersion, useBinaryFormat })],
        ["connect", node.createConnectTransport({ baseUrl, httpVersion, useBinaryFormat, useHttpGet: true })],
        ["connect", node.createConnectTransport({ baseUrl, httpVersion, useBinaryFormat, ...gzip })],
        ["grpc_web", node.createGrpcWebTransport({ baseUrl, httpVersion, useBinaryFormat })],
        ["grpc_web", node.createGrpcWebTransport({ baseUrl, httpVersion, useBinaryFormat, ...gzip })],
      ]),
    ),
    ...both.flatMap((useBinaryFormat) => [
      ["grpc", node.createGrpcTransport({ baseUrl, useBinaryFormat })],
      ["grpc", node.createGrpcTransport({ baseUrl, useBinaryFormat, ...gzip })],
      ["connect", web.createConnectTransport({ baseUrl, useBinaryFormat })],
      ["connect", web.createConnectTransport({ baseUrl, useBinaryFormat, useHttpGet: true })],
      ["grpc_web", web.createGrpcWebTransport({ baseUrl, useBinaryFormat })],
    ]),
  ];
}

async function failure(call) {
  try {
    await call;
  } catch (error) {
    assert(error instanceof ConnectError, error);
    return error;
  }
  assert.fail("it did not fail");
}

async function main(target, descriptors) {
  const set = fromBinary(FileDescriptorSetSchema, fs.readFileSync(descriptors));
  const registry = createFileRegistry(set);
  const [greeter, grumbler] = ["greet.v1.Greeter", "greet.v1.Grumbler"].map((name) => registry.getService(name));
  const calls = { connect: 0, grpc: 0, grpc_web: 0 };
  for (const [protocol, transport] of transports(`http://${target}`)) {
    const client = createClient(greeter, transport);
    for (const note of [
      {},
      { fullName: "Ada", count: 9007199254740993n, tags: ["a", ""], blob: new Uint8Array([0, 255]), mood: 1 },
      { fullName: big },
    ]) {
      const options = { timeoutMs: 10_000, headers: { "x-request-id": "es-1" } };
      // A GET cannot be as long as the large one.
      for (const call of note.fullName === big ? [client.say] : [client.say, client.look]) {
        const { $typeName, $unknown, ...answer } = await call(note, options);
        assert.deepStrictEqual(answer, { fullName: "", count: 0n, tags: [], blob: new Uint8Array(), mood: 0, ...note });
        calls[protocol] += 1;
      }
    }
    // Many at once, each with its own answer.
    const numbers = Array.from({ length: 50 }, (_, n) => BigInt(n));
    const answers = await Promise.all(numbers.map((count) => client.say({ count })));
    assert.deepStrictEqual(answers.map((answer) => answer.count), numbers);
    calls[protocol] += numbers.length;

    const error = await failure(createClient(grumbler, transport).say({}));
    assert.strictEqual(error.code, Code.FailedPrecondition);
    assert.strictEqual(error.rawMessage, "not today: ☹");
    assert.strictEqual(error.details[0].type, "google.rpc.ErrorInfo");
    assert.strictEqual(error.metadata.get("x-leading"), "1");
    assert.strictEqual(error.metadata.get("x-trailing"), "2");
    calls[protocol] += 1;
  }
  console.log(JSON.stringify(calls));
  process.exit(0);
}

main(...process.argv.slice(2));

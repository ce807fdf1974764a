// Calls the echo graph with grpc-js, knowing of the server only what the README says.
//
//     node echo.js HOST:PORT
//
// Prints how many calls it made, as JSON.

const assert = require("node:assert");
const grpc = require("@grpc/grpc-js");

const asItIs = (bytes) => bytes;

function say(client, message) {
  const metadata = new grpc.Metadata();
  metadata.set("x-request-id", "js-1");
  const options = { deadline: Date.now() + 10_000 };
  return new Promise((resolve, reject) => {
    client.makeUnaryRequest("/echo.Echo/Say", asItIs, asItIs, message, metadata, options, (error, reply) =>
      error ? reject(error) : resolve(reply),
    );
  });
}

async function main(target) {
  const client = new grpc.Client(target, grpc.credentials.createInsecure());
  let calls = 0;
  for (const message of [Buffer.alloc(0), Buffer.from("hello"), Buffer.alloc(1 << 20, "x")]) {
    assert.deepStrictEqual(await say(client, message), message);
    calls += 1;
  }
  // Many at once over one connection, each with its own answer.
  const numbers = Array.from({ length: 200 }, (_, n) => Buffer.from(String(n)));
  const replies = await Promise.all(numbers.map((number) => say(client, number)));
  assert.deepStrictEqual(replies, numbers);
  calls += numbers.length;
  client.close();
  console.log(JSON.stringify({ calls }));
}

main(process.argv[2]);

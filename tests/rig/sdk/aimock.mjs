// aimock as the upstreams: one server for each name, and a file of what each was sent, byte for byte.
//
//   node aimock.mjs RECORD '{"NAME": {"key": "the only key it takes"}, ...}'
//
// Prints {"NAME": port, ...} when all listen; ends when its standard input does. aimock's own journal keeps requests
// as it understood them, so what was on the wire is recorded beside it: one JSON line for each request, when its body
// has ended, and one for each answer, whole or cut off by the other side.
import { appendFileSync } from "node:fs";
import { LLMock } from "@copilotkit/aimock";

const [, , record, wanted] = process.argv;

const note = (line) => appendFileSync(record, JSON.stringify(line) + "\n");

const recorder = (name) => (request, response) => {
  if (request.url.startsWith("/__aimock/")) return;
  // aimock tells tests apart by this header, which the gateway does not forward with an operator's credential.
  request.headers["x-test-id"] = request.headers["x-client-request-id"];
  const body = [];
  let noted = false;
  const received = () => {
    if (noted) return;
    noted = true;
    note({
      name, line: `${request.method} ${request.url} HTTP/${request.httpVersion}`, headers: request.rawHeaders,
      body: Buffer.concat(body).toString("base64"),
    });
  };
  if (!("content-length" in request.headers || "transfer-encoding" in request.headers)) received();
  if (request.headers.upgrade) return;
  // Nothing is read here: aimock's handlers read when they want to.
  const push = request.push;
  request.push = (chunk, ...more) => {
    if (chunk) body.push(Buffer.from(chunk));
    else received();
    return push.call(request, chunk, ...more);
  };
  request.on("close", received);
  response.on("close", () => note({ tag: request.headers["x-client-request-id"], whole: response.writableFinished }));
};

const ports = {};
for (const [name, { key }] of Object.entries(JSON.parse(wanted))) {
  const mock = new LLMock({ port: 0, host: "127.0.0.1", auth: { apiKeys: [key] } });
  const words = Array.from({ length: 12 }, (_, at) => `${name}-${at}`).join(" ");
  mock.on({ userMessage: "slowly" }, { content: words }, { latency: 50, chunkSize: 10 });
  mock.on({ userMessage: "at length" }, { content: words.repeat(20) }, { latency: 50, chunkSize: 10 });
  mock.on({ userMessage: "think first" }, { content: words }, { streamingProfile: { ttft: 8000 } });
  mock.on({ userMessage: "break off" }, { content: words }, { latency: 10, chunkSize: 10, truncateAfterChunks: 6 });
  mock.on({ userMessage: "busy once", sequenceIndex: 0 },
          { error: { message: `${name} is busy`, type: "rate_limit_error" }, status: 429, retryAfter: 1 });
  mock.on({ userMessage: "the weather" }, { toolCalls: [{ name: "weather", arguments: { city: `of ${name}` } }] });
  mock.onTranscription({ transcription: { text: `${name} heard it` } });
  mock.onMessage(/.*/s, { content: `${name} greets you: "model", \u20ac \ud83d\udc4b`,
                        usage: { prompt_tokens: 1234, completion_tokens: 56, total_tokens: 1290 } });
  await mock.start();
  mock.serverInstance.server.prependListener("request", recorder(name));
  mock.serverInstance.server.prependListener("upgrade", recorder(name));
  ports[name] = mock.port;
}
console.log(JSON.stringify(ports));
process.stdin.resume().on("end", () => process.exit(0));

// The official clients, told what to call: one JSON line in, one out, many calls at a time.
//
//   {"id": 1, "sdk": "openai", "call": "chat", "mode": "stream", "base": "http://127.0.0.1:8080", "key": "sk-...",
//    "params": {...}, "headers": {...}, "options": {...}}
//
// The answer has what the caller of the SDK got (`got`), and each HTTP request that the SDK made for it (`sent`).
import { AsyncLocalStorage } from "node:async_hooks";
import { connect } from "node:net";
import { createInterface } from "node:readline";
import * as openai from "openai";
import * as anthropic from "@anthropic-ai/sdk";
import * as anthropic0 from "anthropic-sdk-0";
import * as genai from "@google/genai";
import { OpenAIRealtimeWS } from "openai/realtime/ws";
import * as vercel from "ai";
import { createOpenAI } from "@ai-sdk/openai";

// Each SDK uses the global fetch. Its requests over HTTP are noted on their way and not touched.
const calls = new AsyncLocalStorage();
const fetch = globalThis.fetch;
globalThis.fetch = async (url, init) => {
  if (!/^https?:/.test(url)) return fetch(url, init);
  const call = calls.getStore();
  const one = {
    url: String(url), method: init?.method ?? "GET", headers: [...new Headers(init?.headers)],
    body: typeof init?.body === "string" ? init.body : null, at: performance.now() - call.start, status: null,
  };
  call.sent.push(one);
  const response = await fetch(url, init);
  one.status = response.status;
  call.got.headers = Object.fromEntries(response.headers);
  return response;
};

// Runs through a stream; `text` finds the words of an event.
async function read(stream, call, text) {
  let all = "";
  call.got.at = [];
  for await (const event of stream) {
    const words = text(event);
    if (words) call.got.at.push(performance.now() - call.start);
    all += words ?? "";
    call.got.events = (call.got.events ?? 0) + 1;
    if (call.stop && words) {
      call.stop.abort();
      call.stop = null;
    }
  }
  return all;
}

const openaiClient = ({ base, key, headers, options }) =>
  new openai.OpenAI({ baseURL: base + "/v1", apiKey: key, defaultHeaders: headers, ...options });
const anthropicClient = (module) => ({ base, key, headers, options }) =>
  new module.Anthropic({ baseURL: base, apiKey: key, defaultHeaders: headers, ...options });
const genaiClient = ({ base, key, headers, options }) =>
  new genai.GoogleGenAI({ apiKey: key, vertexai: false, httpOptions: { baseUrl: base, headers }, ...options });

const vercelClient = ({ base, key, headers, options }) => createOpenAI({ baseURL: base + "/v1", apiKey: key, headers, ...options });

const chatResult = (done) => ({
  text: done.choices[0].message.content, tools: done.choices[0].message.tool_calls?.map((one) => one.function),
  model: done.model, usage: done.usage,
});
const responsesResult = (done) => ({
  text: done.output_text, tools: done.output.filter((one) => one.type === "function_call"), model: done.model,
  usage: done.usage, status: done.status,
});
const messagesResult = (done) => ({
  text: done.content.filter((one) => one.type === "text").map((one) => one.text).join(""),
  tools: done.content.filter((one) => one.type === "tool_use"), model: done.model, usage: done.usage,
});

const chatText = (event) => event.choices[0]?.delta?.content;
const responsesText = (event) => event.type === "response.output_text.delta" ? event.delta : null;
const messagesText = (event) => event.type === "content_block_delta" ? event.delta.text : null;

const messages = {
  plain: async (client, params) => messagesResult(await client.messages.create(params)),
  stream: async (client, params, call) => ({
    text: await read(await client.messages.create({ ...params, stream: true }, { signal: call.stop?.signal }), call,
                     messagesText),
  }),
  helper: async (client, params, call) => {
    const stream = client.messages.stream(params);
    await read(stream, call, messagesText);
    return messagesResult(await stream.finalMessage());
  },
};

// The names of all models of a list that the SDK reads page by page.
async function collect(list, name) {
  const names = [];
  for await (const one of await list) names.push(name(one));
  return names;
}

const anthropicModels = {
  all: async (client) => ({ names: await collect(client.models.list({ limit: 2 }), (one) => one.id) }),
  one: async (client, { model }) => ({ names: [(await client.models.retrieve(model)).id] }),
};

// Vercel's `ai`, which speaks either API of OpenAI's. It tries nothing again unless `maxRetries` says so.
const vercelResult = (text, usage) => ({ text, usage: { input_tokens: usage.inputTokens, output_tokens: usage.outputTokens } });
const vercelText = (api) => ({
  plain: async (client, { model, prompt, maxRetries = 0 }) => {
    const done = await vercel.generateText({ model: client[api](model), prompt, maxRetries });
    return vercelResult(done.text, done.usage);
  },
  // An error ends the stream of words, and is told beside it.
  stream: async (client, { model, prompt, maxRetries = 0 }, call) => {
    const errors = [];
    const result = vercel.streamText({ model: client[api](model), prompt, maxRetries, onError: ({ error }) => errors.push(error) });
    const text = await read(result.textStream, call, (words) => words);
    if (errors.length) throw errors[0];
    return vercelResult(text, await result.usage);
  },
});

const SDKS = {
  openai: {
    module: openai, client: openaiClient,
    chat: {
      plain: async (client, params) => chatResult(await client.chat.completions.create(params)),
      stream: async (client, params, call) => ({
        text: await read(await client.chat.completions.create({ ...params, stream: true },
                                                              { signal: call.stop?.signal }), call, chatText),
      }),
      helper: async (client, params, call) => {
        const stream = client.chat.completions.stream({ ...params, stream_options: { include_usage: true } });
        await read(stream, call, chatText);
        return chatResult(await stream.finalChatCompletion());
      },
    },
    responses: {
      plain: async (client, params) => responsesResult(await client.responses.create(params)),
      stream: async (client, params, call) => ({
        text: await read(await client.responses.create({ ...params, stream: true }, { signal: call.stop?.signal }),
                         call, responsesText),
      }),
      helper: async (client, params, call) => {
        const stream = client.responses.stream(params);
        await read(stream, call, responsesText);
        return responsesResult(await stream.finalResponse());
      },
    },
    embeddings: {
      plain: async (client, params) => ({ sizes: (await client.embeddings.create(params)).data.map(
        (one) => one.embedding.length) }),
    },
    transcription: {
      plain: async (client, { bytes, ...params }) => ({
        text: (await client.audio.transcriptions.create({
          ...params, file: await openai.toFile(Buffer.from(bytes), "speech.wav") })).text,
      }),
    },
    models: {
      plain: async (client) => ({ count: (await client.models.list()).data.length }),
      all: async (client) => ({ names: await collect(client.models.list(), (one) => one.id) }),
      one: async (client, { model }) => ({ names: [(await client.models.retrieve(model)).id] }),
    },
    // A session over a WebSocket: the model in the query, no body. The SDK insists on wss; TLS is left out here.
    realtime: {
      plain: async (client, { model, text, headers }) => {
        const session = await OpenAIRealtimeWS.create(client, {
          model, options: { headers, createConnection: ({ host, port }) => connect(port, host) } });
        try {
          return await new Promise((resolve, reject) => {
            let all = "";
            session.on("error", reject);
            session.socket.on("unexpected-response", (_request, response) =>
              reject(Object.assign(new Error("no upgrade"), { status: response.statusCode })));
            session.socket.on("open", () => {
              session.send({ type: "conversation.item.create",
                             item: { type: "message", role: "user", content: [{ type: "input_text", text }] } });
              session.send({ type: "response.create", response: { output_modalities: ["text"] } });
            });
            session.on("response.output_text.delta", (event) => { all += event.delta; });
            session.on("response.done", () => resolve({ text: all }));
          });
        } finally {
          session.close();
        }
      },
    },
  },
  anthropic: { module: anthropic, client: anthropicClient(anthropic), messages, models: anthropicModels },
  anthropic0: { module: anthropic0, client: anthropicClient(anthropic0), messages, models: anthropicModels },
  vercel: { module: vercel, client: vercelClient, chat: vercelText("chat"), responses: vercelText("responses") },
  genai: {
    module: genai, client: genaiClient,
    models: {
      all: async (client) => ({ names: await collect(client.models.list({ config: { pageSize: 2 } }), (one) => one.name) }),
      one: async (client, { model }) => ({ names: [(await client.models.get({ model })).name] }),
    },
    generate: {
      plain: async (client, params) => {
        const done = await client.models.generateContent(params);
        return { text: done.text, usage: done.usageMetadata, tools: done.functionCalls };
      },
      stream: async (client, params, call) => {
        let usage;
        const text = await read(await client.models.generateContentStream(params), call, (event) => {
          usage = event.usageMetadata ?? usage;
          return event.text;
        });
        return { text, usage };
      },
    },
  },
};

function errorOf(error, module) {
  const classes = Object.entries(module).filter(([, one]) => one?.prototype instanceof Error && error instanceof one)
    .map(([name]) => name).sort();
  const last = error.lastError ?? error;   // of the attempts of Vercel's
  return {
    name: error.constructor.name, classes, status: last.status ?? last.statusCode, code: error.code, type: error.type,
    message: error.message, body: error.error ?? last.responseBody, requestId: error.requestID, cause: String(error.cause ?? ""),
  };
}

async function answer(line) {
  const asked = JSON.parse(line);
  const sdk = SDKS[asked.sdk];
  const call = { start: performance.now(), sent: [], got: {}, stop: asked.abort ? new AbortController() : null };
  await calls.run(call, async () => {
    try {
      Object.assign(call.got, await sdk[asked.call][asked.mode](sdk.client(asked), asked.params, call));
    } catch (error) {
      call.got.error = errorOf(error, sdk.module);
    }
  });
  console.log(JSON.stringify({ id: asked.id, sent: call.sent, got: call.got, took: performance.now() - call.start }));
}

createInterface({ input: process.stdin }).on("line", answer).on("close", () => process.exit(0));
console.log("{}");

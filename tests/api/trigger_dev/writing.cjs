// Streams that are written from outside of their run, and a reader that is there when the server goes and comes back.
"use strict";
const { dirname, join } = require("node:path");
const { apiClientManager } = require("@trigger.dev/core/v3");
const { streams, tasks } = require("@trigger.dev/sdk");
const { failure, run } = require("./saying.cjs");
const core = dirname(require.resolve("@trigger.dev/core/v3"));
const { StreamInstance } = require(join(core, "realtimeStreams", "streamInstance.js"));

run(async () => {
  const apiClient = apiClientManager.clientOrThrow();
  const asks = await tasks.trigger("asks");
  const read = streams.read(asks.id, "answers").then(async (stream) => {
    const parts = [];
    for await (const part of stream) parts.push(part);
    return parts;
  });
  const source = new ReadableStream({
    async start(controller) {
      for (const each of [{ n: 1 }, "two", [3], null]) {
        controller.enqueue(each);
        await new Promise((resolve) => setTimeout(resolve, 30));
      }
      controller.close();
    },
  });
  await new StreamInstance({ apiClient, baseUrl: apiClient.baseUrl, runId: asks.id, key: "answers", source }).wait();
  const added = await apiClient.appendToStream(asks.id, "self", "answers", "plain text");
  const post = async (path, method, body, more = {}) => {
    const headers = { authorization: `Bearer ${process.env.TRIGGER_SECRET_KEY}`, "content-type": "application/json", ...more };
    return await fetch(`${process.env.TRIGGER_API_URL}/realtime/v1/streams/${path}`, { method, body, headers });
  };
  const place = `${asks.id}/self/answers`;
  const resumed = [await post(place, "POST", '"a"\n"b"\n', { "x-client-id": "me" }), await post(place, "POST", '"b"\n"c"\n', { "x-client-id": "me", "x-resume-from-chunk": "1" })];
  const far = [await post(place, "HEAD", undefined, { "x-client-id": "me" }), await post(place, "HEAD", undefined, { "x-client-id": "you" })];
  const refused = {
    own: (await post(`${asks.id}/self/own/append`, "POST", "1")).status, unknown: await failure(apiClient.appendToStream("run_no", "self", "answers", "x")),
    parent: (await post(`${asks.id}/parent/answers/append`, "POST", "1")).status, large: (await post(place, "POST", "x".repeat(70_000))).status,
  };
  await apiClient.appendToStream(asks.id, "self", "answers", JSON.stringify("end"));
  const parts = await read;
  const late = await failure(apiClient.appendToStream(asks.id, "self", "answers", "too late"));
  return { added, parts, statuses: resumed.map((each) => each.status), far: far.map((each) => each.headers.get("x-last-chunk-index")), refused, late };
});

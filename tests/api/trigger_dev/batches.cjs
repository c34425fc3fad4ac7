"use strict";
const { batch, idempotencyKeys, runs, tasks } = require("@trigger.dev/sdk");
const { failure, run } = require("./saying.cjs");

async function over(id) {
  for (let tries = 0; tries < 400; tries++) {
    const found = await batch.retrieve(id);
    if (found.status !== "PROCESSING") return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`batch ${id} did not end`);
}

run(async () => {
  const many = Array.from({ length: 600 }, (_, i) => ({ payload: { name: `n${i}` } }));
  const handle = await tasks.batchTrigger("greet", many);
  const done = await over(handle.batchId);
  const last = await runs.retrieve(done.runs[599]);
  const mixed = await batch.trigger([
    { id: "greet", payload: { name: "Ada" }, options: { tags: ["x"] } }, { id: "fail", payload: "no" }, { id: "greet", payload: { name: 5 } },
  ]);
  const partly = await over(mixed.batchId);
  const key = await idempotencyKeys.create("batch", { scope: "global" });
  const first = await tasks.batchTrigger("nothing", [{ payload: undefined }, { payload: undefined }], { idempotencyKey: key });
  const second = await tasks.batchTrigger("nothing", [{ payload: undefined }, { payload: undefined }], { idempotencyKey: key });
  const listed = [];
  for await (const each of runs.list({ batch: mixed.batchId })) listed.push(each.taskIdentifier);

  const url = process.env.TRIGGER_API_URL;
  const headers = { authorization: `Bearer ${process.env.TRIGGER_SECRET_KEY}`, "content-type": "application/x-ndjson" };
  const post = async (path, body, more = {}) => {
    const answer = await fetch(url + path, { method: "POST", headers: { ...headers, ...more }, body });
    return [answer.status, await answer.json()];
  };
  const [, open] = await post("/api/v3/batches", '{"runCount":3}');
  const line = (index, task = "nothing") => JSON.stringify({ index, task, options: {} }) + "\n";
  const items = `/api/v3/batches/${open.id}/items`;
  const parts = [
    await post(items, line(0) + line(1)), (await batch.retrieve(open.id)).status,
    await post(items, line(0) + line(1) + line(2)), await post(items, line(0) + line(1) + line(2)),
    await post(items, "{"), await post(items, line(7)), await post(items, line(0), { "content-type": "application/json" }),
    await post("/api/v3/batches/batch_no/items", line(0)), await post("/api/v3/batches", '{"runCount":1001}'),
  ];
  const results = await (await fetch(`${url}/api/v1/batches/${mixed.batchId}/results`, { headers })).json();
  return {
    handle, done: { ...done, runs: done.runs.length }, last, partly, cached: [first.batchId, second.batchId], listed, parts, results,
    unknown: await failure(batch.retrieve("batch_no")), python: await over(process.argv[2]),
  };
});

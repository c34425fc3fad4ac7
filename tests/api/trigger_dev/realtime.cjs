// Subscriptions: to a run, to runs with a tag, to a batch, to a stream.
"use strict";
const { runs, tasks } = require("@trigger.dev/sdk");
const { run } = require("./saying.cjs");

async function until(subscription, enough) {
  const seen = [];
  for await (const each of subscription) {
    seen.push({ id: each.id, status: each.status, output: each.output, metadata: each.metadata, tags: each.tags });
    if (enough(seen)) break;
  }
  return seen;
}

run(async () => {
  const one = await tasks.trigger("work", "ada", { tags: ["user:1"] });
  const followed = await until(runs.subscribeToRun(one.id), () => false);
  const tagged = await until(runs.subscribeToRunsWithTag("user:1"), (seen) => seen.some((each) => each.status === "COMPLETED"));
  const batch = await tasks.batchTrigger("work", [{ payload: "b" }, { payload: "c" }]).catch(() => null);
  const batched = batch && (await until(runs.subscribeToBatch(batch.batchId), (seen) => new Set(seen.filter((each) => each.status === "COMPLETED").map((each) => each.id)).size === 2));
  const parts = [];
  for await (const part of await runs.fetchStream(one.id, "tokens")) parts.push(part);
  const withStreams = [];
  for await (const part of runs.subscribeToRun(one.id).withStreams()) {
    withStreams.push(part.type);
    if (withStreams.filter((type) => type === "tokens").length === 3) break; // it does not end by itself
  }
  return { id: one.id, followed, tagged, batched, parts, withStreams };
});

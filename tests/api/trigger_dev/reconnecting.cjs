// Subscriptions of every kind, while the server goes away and another one comes.
"use strict";
const { runs, streams, tasks } = require("@trigger.dev/sdk");
const { run } = require("./saying.cjs");

run(async () => {
  const one = await tasks.trigger("work", "one", { tags: ["user:1", "x"] });
  const batch = await tasks.batchTrigger("work", [{ payload: "a" }, { payload: "b" }]);
  let ready = 0;
  const all = 4;
  const first = () => ++ready === all && tasks.trigger("ready");
  const until = async (subscription, count) => {
    const seen = new Map();
    const ended = () => [...seen.values()].filter((each) => each.status === "COMPLETED").length === count;
    let told = false;
    for await (const each of subscription) {
      seen.set(each.id, { status: each.status, output: each.output, n: each.metadata?.n });
      if (!told && seen.size === count && [...seen.values()].every((each) => each.n === 1)) first((told = true));
      if (ended()) break;
    }
    return [...seen.values()];
  };
  const parts = async () => {
    const found = [];
    for await (const part of await streams.read(one.id, "tokens")) {
      found.push(part);
      if (found.length === 1) first();
    }
    return found;
  };
  const said = await Promise.all([
    until(runs.subscribeToRun(one.id), 1), until(runs.subscribeToRunsWithTag(["x", "user:1"], { createdAt: "1h" }), 1),
    until(runs.subscribeToBatch(batch.batchId), 2), parts(),
  ]);
  return { one: said[0], tagged: said[1], batch: said[2], parts: said[3] };
});

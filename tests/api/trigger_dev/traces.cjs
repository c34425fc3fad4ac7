// What a run did when.
"use strict";
const { dirname, join } = require("node:path");
const { apiClientManager } = require("@trigger.dev/core/v3");
const { runs, tasks } = require("@trigger.dev/sdk");
const { failure, run } = require("./saying.cjs");
const core = dirname(require.resolve("@trigger.dev/core/v3"));
const { assembleRunTracePages } = require(join(core, "apiClient", "runTracePages.js"));

run(async () => {
  const api = apiClientManager.clientOrThrow();
  const order = await runs.poll(await tasks.trigger("order", undefined), { pollIntervalMs: 50 });
  const { trace } = await api.retrieveRunTrace(order.id);
  const pages = [await api.retrieveRunTracePage(order.id, { limit: 2 })];
  while (pages.at(-1).pagination.next) pages.push(await api.retrieveRunTracePage(order.id, { limit: 2, after: pages.at(-1).pagination.next }));
  const attempt = trace.rootSpan.children[1];
  const step = await api.retrieveSpan(order.id, attempt.children.find((each) => each.data.message === "pay").id);
  const child = await api.retrieveSpan(order.id, attempt.children.find((each) => each.data.message === "ship").id);
  const waiting = await tasks.trigger("order", undefined, { delay: "1h" });
  return {
    id: order.id, trace, count: pages.length, assembled: assembleRunTracePages(pages), step, child,
    events: (await api.listRunEvents(order.id)).events, waiting: (await api.retrieveRunTrace(waiting.id)).trace.rootSpan,
    unknown: [await failure(api.retrieveRunTrace("run_no")), await failure(api.retrieveSpan(order.id, "no")), await failure(api.retrieveRunTracePage(order.id, { limit: 0 }))],
  };
});

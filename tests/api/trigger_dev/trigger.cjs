"use strict";
const { configure, runs, tasks } = require("@trigger.dev/sdk");
const { failure, run } = require("./saying.cjs");

run(async () => {
  const handle = await tasks.trigger("greet", { name: "Ada", at: new Date(0), many: 12345678901234567890n, no: undefined });
  const done = await runs.poll(handle, { pollIntervalMs: 50 });
  const failed = await runs.poll(await tasks.trigger("fail", "text"), { pollIntervalMs: 50 });
  const nothing = await runs.poll(await tasks.trigger("nothing"), { pollIntervalMs: 50 });

  const said = {
    delay: "1h", ttl: "10m", tags: ["user:1", "x"], metadata: { m: 1 }, maxAttempts: 5, maxDuration: 60, queue: "q1",
    concurrencyKey: "ck", priority: 10, machine: "small-1x", idempotencyKey: "k1", idempotencyKeyTTL: "1h",
  };
  const full = await tasks.trigger("greet", { name: "Bob" }, said);
  const again = await tasks.trigger("greet", { name: "Bob" }, said);
  const waiting = await runs.retrieve(full.id);

  const here = await runs.poll(await tasks.trigger("nothing", undefined, { version: "2026.7" }), { pollIntervalMs: 50 });
  const nowhere = await runs.retrieve((await tasks.trigger("nothing", undefined, { version: "2026.6" })).id);

  const burst = { debounce: { key: "d", delay: "1h" } };
  const first = await tasks.trigger("greet", { name: "first" }, burst);
  const second = await tasks.trigger("greet", { name: "second" }, burst);

  const large = await runs.poll(await tasks.trigger("greet", { name: "x".repeat(200_000) }), { pollIntervalMs: 50 });
  const refused = {
    tags: await failure(tasks.trigger("greet", { name: "" }, { tags: Array.from({ length: 11 }, (_, i) => `t${i}`) })),
    delay: await failure(tasks.trigger("greet", { name: "" }, { delay: "soon" })),
    unknown: await failure(runs.retrieve("run_nothere")),
    unfit: await failure(tasks.trigger("greet", { name: 5 })),
  };
  configure({ accessToken: "tr_dev_wrong" });
  refused.key = await failure(runs.retrieve(handle.id));
  return { handle, done, failed, nothing, here, nowhere, full, again, waiting, first, second, refused, large: large.output.hello.length };
});

"use strict";
const { apiClientManager } = require("@trigger.dev/core/v3");
const { idempotencyKeys, runs, tasks } = require("@trigger.dev/sdk");
const { failure, run } = require("./saying.cjs");

async function listed(params) {
  const page = await runs.list(params);
  return page.data.map((each) => each.id);
}

run(async () => {
  const api = apiClientManager.clientOrThrow();
  const done = await runs.poll(await tasks.trigger("greet", { name: "Ada" }, { tags: ["a", "b"], metadata: { m: 1 } }), { pollIntervalMs: 50 });
  const failed = await runs.poll(await tasks.trigger("fail", "no", { tags: "b" }), { pollIntervalMs: 50 });
  const delayed = await tasks.trigger("greet", { name: "Bob" }, { delay: "1h", tags: ["c"], queue: "slow", machine: "small-1x" });
  const tested = await tasks.trigger("greet", { name: "Eve" }, { delay: "1h", region: "eu" });

  const filters = {
    all: await listed(),
    completed: await listed({ status: "COMPLETED" }),
    several: await listed({ status: ["FAILED", "DELAYED"] }),
    task: await listed({ taskIdentifier: ["fail", "other"] }),
    tag: await listed({ tag: ["a", "c"] }),
    queue: await listed({ queue: { type: "custom", name: "slow" } }),
    own: await listed({ queue: { type: "task", name: "fail" } }),
    machine: await listed({ machine: "small-1x" }),
    region: await listed({ region: "eu" }),
    version: await listed({ version: done.version }),
    test: await listed({ isTest: true }),
    period: await listed({ period: "1h" }),
    from: await listed({ from: new Date(Date.now() + 3600_000) }),
    to: await listed({ to: Date.now() - 3600_000 }),
    batch: await listed({ batch: "batch_none" }),
    schedule: await listed({ schedule: "sched_none" }),
    bulk: await listed({ bulkAction: "bulk_none" }),
  };
  const first = await runs.list({ limit: 3 });
  const second = await first.getNextPage();
  const back = await second.getPreviousPage();
  const pages = [first, second, back].map((page) => page.data.map((each) => each.id));
  const ends = [first.hasPreviousPage(), first.hasNextPage(), second.hasPreviousPage(), second.hasNextPage()];
  const iterated = [];
  for await (const each of runs.list({ limit: 2 })) iterated.push(each.id);

  const moved = await runs.reschedule(delayed.id, { delay: "2h" });
  const soon = await runs.poll(await runs.reschedule(tested.id, { delay: new Date(0) }), { pollIntervalMs: 50 });
  const late = await failure(runs.reschedule(done.id, { delay: "2h" }));
  const canceled = await runs.cancel(delayed.id);
  const twice = await runs.cancel(delayed.id);
  const gone = await runs.retrieve(delayed.id);
  const again = await runs.poll(await runs.replay(done.id), { pollIntervalMs: 50 });
  const other = await api.replayRun(done.id, { payload: JSON.stringify({ json: { name: "Other" } }), payloadType: "application/super+json", tags: ["r"], delay: "1s" });
  const replayed = await runs.poll(other.id, { pollIntervalMs: 50 });

  const tagged = await api.addTags(done.id, { tags: ["z", "a"] });
  const many = await failure(api.addTags(done.id, { tags: Array.from({ length: 10 }, (_, i) => `t${i}`) }));
  const set = await api.updateRunMetadata(failed.id, { operations: [
    { type: "set", key: "$.user.name", value: "Ada" }, { type: "append", key: "list", value: 1 },
    { type: "append", key: "list", value: { a: 1 } }, { type: "remove", key: "list", value: 1 },
    { type: "increment", key: "n", value: 2 }, { type: "increment", key: "n", value: 3 }, { type: "delete", key: "gone" },
  ] });
  const replaced = await api.updateRunMetadata(failed.id, { metadata: { new: true } });
  const hungry = await tasks.trigger("hungry");
  for await (const each of runs.subscribeToRun(hungry.id)) if (each.finishedAt) hungry.told = each.error;
  const slow = await runs.poll(await tasks.trigger("slow"), { pollIntervalMs: 50 });
  const internal = { hungry: [await api.getRunResult(hungry.id), hungry.told], slow: [await api.getRunResult(slow.id), slow.error] };
  const results = [await api.getRunResult(done.id), await api.getRunResult(failed.id), await api.getRunResult(moved.id)];

  const key = await idempotencyKeys.create("k1", { scope: "global" });
  const keyed = await tasks.trigger("greet", { name: "K" }, { idempotencyKey: key, delay: "1h" });
  const known = await tasks.trigger("greet", { name: "K" }, { idempotencyKey: key, delay: "1h" });
  const reset = await idempotencyKeys.reset("greet", "k1", { scope: "global" });
  const fresh = await tasks.trigger("greet", { name: "K" }, { idempotencyKey: key, delay: "1h" });
  const missing = await failure(idempotencyKeys.reset("greet", "never", { scope: "global" }));

  const asleep = [];
  for (let i = 0; i < 3; i++) asleep.push((await tasks.trigger("greet", { name: "B" }, { delay: "1h", tags: ["bulk"] })).id);
  const stopped = await runs.bulk.poll((await runs.bulk.cancel({ filter: { tag: "bulk", status: ["DELAYED"] }, name: "n" })).id, { pollIntervalMs: 20 });
  const repeated = await runs.bulk.poll((await runs.bulk.replay({ runIds: [done.id, failed.id, "run_01kaxg4pqye1hrjsq0y3v4mz5c"] })).id, { pollIntervalMs: 20 });
  const bulk = {
    stopped, repeated, statuses: await Promise.all(asleep.map(async (id) => (await runs.retrieve(id)).status)),
    made: (await listed({ bulkAction: repeated.id })).length, aborted: await runs.bulk.abort(stopped.id),
    back: await (await (await runs.bulk.list({ limit: 1 })).getNextPage()).getPreviousPage().then((page) => [page.data[0].id, page.hasPreviousPage(), page.hasNextPage()]),
    listed: (await runs.bulk.list({ limit: 1 })).data.map((each) => each.id),
    neither: await failure(runs.bulk.cancel({})), unknown: await failure(runs.bulk.retrieve("bulk_no")),
  };

  return {
    bulk, ids: { done: done.id, failed: failed.id, delayed: delayed.id, tested: tested.id }, filters, pages, ends, iterated,
    moved, soon, late, canceled, twice, gone, again, replayed, tagged, many, set, replaced, results, internal,
    keys: [keyed.id, known.id, fresh.id], reset, missing, after: await runs.retrieve(done.id),
  };
});

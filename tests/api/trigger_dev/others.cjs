// Schedules, queues and tokens.
"use strict";
const { queues, runs, schedules, tasks, wait } = require("@trigger.dev/sdk");
const { failure, run } = require("./saying.cjs");

async function theSchedules() {
  const said = { task: "greet", cron: "30 9 * * *", deduplicationKey: "k", externalId: "u1", timezone: "Asia/Kolkata" };
  const made = await schedules.create(said);
  const paused = await schedules.deactivate(made.id);
  const again = await schedules.create({ task: "greet", cron: "0 3 * * 1", deduplicationKey: "k" });
  const resumed = await schedules.activate(made.id);
  const updated = await schedules.update(made.id, { task: "nothing", cron: "15 3 L * *", externalId: "u2" });
  const other = await schedules.create({ task: "fail", cron: "0 0 * * *", deduplicationKey: "k2" });
  const read = await schedules.retrieve(made.id);
  const pages = [await schedules.list({ perPage: 2 }), await schedules.list({ page: 2, perPage: 2 })];
  const declared = (await schedules.list()).data.find((each) => each.type === "DECLARATIVE");
  return {
    made, paused, again, resumed, updated, read, other, declared,
    pages: pages.map((page) => [page.data.map((each) => each.id), page.pagination]),
    refused: [
      await failure(schedules.create({ ...said, cron: "often" })),
      await failure(schedules.create({ ...said, timezone: "Moon/Sea" })),
      await failure(schedules.create({ ...said, cron: "* * * * * *" })),
      await failure(schedules.update(declared.id, said)),
      await failure(schedules.del(declared.id)),
    ],
    deleted: await schedules.del(other.id), gone: await failure(schedules.retrieve(other.id)),
    zones: (await schedules.timezones()).timezones.length, slash: (await fetch(process.env.TRIGGER_API_URL + "//api/v1/timezones")).status, without: (await schedules.timezones({ excludeUtc: true })).timezones,
  };
}

async function theQueues() {
  await tasks.trigger("greet", { name: "Q" }, { queue: "a/b c", delay: "1h" });
  const found = await queues.list({ perPage: 100 });
  const own = await queues.retrieve({ type: "task", name: "greet" });
  const custom = await queues.retrieve({ type: "custom", name: "a/b c" });
  return {
    names: found.data.map((each) => [each.type, each.name]), count: found.pagination.count, own, custom,
    byId: await queues.retrieve(own.id),
    paused: await queues.pause({ type: "custom", name: "a/b c" }), resumed: await queues.resume(custom.id),
    limited: await queues.overrideConcurrencyLimit({ type: "custom", name: "a/b c" }, 5),
    reset: await queues.resetConcurrencyLimit(custom.id),
    unknown: await failure(queues.retrieve({ type: "task", name: "no" })),
    zero: await failure(queues.overrideConcurrencyLimit(custom.id, 0)),
  };
}

async function theTokens() {
  const token = await wait.createToken({ timeout: "10m", tags: ["a", "b"], idempotencyKey: "ik" });
  const again = await wait.createToken({ idempotencyKey: "ik" });
  const open = await wait.retrieveToken(token.id);
  await wait.completeToken(token, { status: "approved" });
  await wait.completeToken(token.id, { status: "too late" });
  const done = await wait.retrieveToken(token.id);
  const plain = await wait.createToken();
  const called = await fetch(process.env.TRIGGER_API_URL + new URL(plain.url).pathname, { method: "POST", body: '{"by":"Ada"}' });
  const short = await wait.createToken({ timeout: "1s" });
  let expired = await wait.retrieveToken(short.id);
  for (let tries = 0; expired.status === "WAITING" && tries < 200; tries++) {
    await new Promise((resolve) => setTimeout(resolve, 100));
    expired = await wait.retrieveToken(short.id);
  }
  const listed = async (params) => {
    const found = [];
    for await (const each of wait.listTokens(params)) found.push(each.id);
    return found;
  };
  const pages = async (params) => {
    const first = await wait.listTokens(params), second = await first.getNextPage(), back = await second.getPreviousPage();
    const ids = [first, second, back].map((page) => page.data.map((each) => each.id));
    return [ids, [first, second, back].map((page) => [page.hasPreviousPage(), page.hasNextPage()])];
  };
  const paged = [await pages({ limit: 2 }), await pages({ limit: 1, status: "COMPLETED" })];
  const order = await tasks.trigger("approve", undefined);
  const waiting = await tokenOf(order.id);
  await wait.completeToken(waiting, { by: "Bob" });
  return {
    token, again, open, done, called: called.status, expired, url: plain.url,
    read: await wait.retrieveToken(plain.id), approved: await runs.poll(order, { pollIntervalMs: 50 }),
    lists: {
      all: await listed({ limit: 1 }), completed: await listed({ status: "COMPLETED", tags: ["b"] }),
      timedOut: await listed({ status: ["TIMED_OUT"] }), key: await listed({ idempotencyKey: "ik" }), period: await listed({ period: "1h" }),
    },
    ids: [token.id, plain.id, short.id], paged,
    unknown: await failure(wait.retrieveToken("waitpoint_no")), unfit: await failure(wait.createToken({ timeout: "soon" })),
  };
}

async function tokenOf(runId) {
  for (let tries = 0; tries < 400; tries++) {
    const found = (await runs.retrieve(runId)).metadata?.token;
    if (found !== undefined) return found;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error("the run made no token");
}

run(async () => ({ schedules: await theSchedules(), queues: await theQueues(), tokens: await theTokens() }));

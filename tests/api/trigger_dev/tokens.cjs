// Public tokens: what a browser may do with them, for a key that signs them itself and for one that does not.
"use strict";
const { auth, batch, configure, runs, schedules, streams, tasks, wait } = require("@trigger.dev/sdk");
const { failure, run } = require("./saying.cjs");

const as = (accessToken, fn) => auth.withAuth({ accessToken }, fn);
const status = async (promise) => (await failure(promise)).status;

async function followed(id) {
  let last;
  for await (const each of runs.subscribeToRun(id)) last = each;
  return [last.status, last.output, last.payload];
}

async function withKey(tag) {
  const mine = await tasks.trigger("greet", { name: "Ada" }, { tags: [tag] });
  const other = await tasks.trigger("greet", { name: "Bob" }, { tags: ["user:2"] });
  await runs.poll(mine, { pollIntervalMs: 50 });
  const forRun = await auth.createPublicToken({ scopes: { read: { runs: [mine.id] } }, expirationTime: "1h" });
  const forTag = await auth.createPublicToken({ scopes: { read: { tags: [tag] } }, realtime: { skipColumns: ["payload"] } });
  const once = await auth.createTriggerPublicToken("greet");
  const often = await auth.createTriggerPublicToken("greet", { multipleUse: true });
  const many = await auth.createBatchTriggerPublicToken("greet");
  const token = await wait.createToken();
  const page = {
    own: await as(mine.publicAccessToken, async () => [await followed(mine.id), (await runs.retrieve(mine.id)).output]),
    forRun: await as(forRun, async () => [await followed(mine.id), await status(runs.retrieve(other.id)), await status(runs.cancel(mine.id)), await status(tasks.trigger("greet", { name: "x" }))]),
    forTag: await as(forTag, async () => [await followed(mine.id), await status(runs.retrieve(other.id)), (await runs.list({ tag })).data.map((each) => each.id)]),
    once: await as(once, async () => [(await tasks.trigger("greet", { name: "x".repeat(200_000) })).id.slice(0, 4), await status(tasks.trigger("greet", { name: "Eve" })), await status(tasks.trigger("other", 1))]),
    often: await as(often, async () => {
      const handle = await tasks.trigger("greet", { name: "Fay" });
      await tasks.trigger("greet", { name: "Gil" });
      return await as(handle.publicAccessToken, () => followed(handle.id));
    }),
    many: await as(many, async () => [(await tasks.batchTrigger("greet", [{ payload: { name: "1" } }, { payload: { name: "2" } }])).runCount, (await failure(tasks.batchTrigger("greet", [{ payload: { name: "3" } }]))).message.includes("one use")]),
    batch: await tasks.batchTrigger("greet", [{ payload: { name: "H" } }]).then((made) => as(made.publicAccessToken, async () => {
      for await (const each of runs.subscribeToBatch(made.batchId)) if (each.status === "COMPLETED") return [each.output, (await batch.retrieve(made.batchId)).runCount];
    })),
    token: await as(token.publicAccessToken, async () => (await wait.completeToken(token, 1), await status(wait.createToken()))),
    over: await auth.createPublicToken({ scopes: { read: { runs: true } }, expirationTime: new Date(Date.now() - 60_000) }).then((past) => as(past, () => status(runs.retrieve(mine.id))), (error) => error.status),
    schedules: await as(forRun, () => status(schedules.list())), stream: await as(forRun, async () => (await streams.read(mine.id, "none")) !== undefined),
  };
  return { ...page, ids: [mine.id, other.id] };
}

run(async () => {
  const operators = await withKey("user:1");
  configure({ accessToken: process.argv[2] });
  return { operators, stored: await withKey("team:a:b") };
});

// What the official client can do, one thing after the other; prints what came of each as JSON.
"use strict";
const Mergent = require("mergent").default || require("mergent");

const [receiver, key] = process.argv.slice(2);
const mergent = new Mergent(key);

async function failure(promise) {
  try {
    await promise;
  } catch (error) {
    return { message: error.message, param: error.param, errors: error.errors };
  }
  return null;
}

async function until(id, wanted) {
  for (let tries = 0; tries < 400; tries++) {
    const task = await mergent.tasks.retrieve(id);
    if (task.status === wanted) return task;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`task ${id} did not become ${wanted}`);
}

async function tasks() {
  const request = { url: `${receiver}/tasks`, headers: { "X-From": "node" }, body: "Hello, world!" };
  const sent = await mergent.tasks.create({ request });
  const done = await until(sent.id, "success");
  const delayed = await mergent.tasks.create({ name: "report", queue: "mail", request, delay: { hours: 1, minutes: 2 } });
  const clash = await failure(mergent.tasks.create({ name: "report", request }));
  const at = new Date(Date.now() + 3600_000);
  const updated = await mergent.tasks.update(delayed.id, { scheduledFor: at });
  const listed = await mergent.tasks.list();
  const run = await mergent.tasks.run(delayed.id);
  await until(delayed.id, "success");
  const busy = await failure(mergent.tasks.run(delayed.id));
  const unwanted = await mergent.tasks.create({ request, delay: "1h" });
  const deleted = await mergent.tasks.delete(unwanted.id);
  const gone = await failure(mergent.tasks.retrieve(unwanted.id));
  const invalid = await failure(mergent.tasks.create({ name: "a b", request: { url: "nonsense" } }));
  return {
    sent, done, delayed, clash, at: at.toISOString(), updated, listed: listed.map((task) => task.id), run, busy,
    deleted: deleted === undefined, gone, invalid,
  };
}

async function schedules() {
  const request = { url: `${receiver}/schedules` };
  const cron = await mergent.schedules.create({ name: "nightly", description: "every night", cron: "0 2 * * *", request });
  const rule = await mergent.schedules.create({ queue: "mail", rrule: "FREQ=SECONDLY;COUNT=2;INTERVAL=1", request });
  const paused = await mergent.schedules.update(cron.id, { paused: true });
  const moved = await mergent.schedules.update(cron.id, { cron: "30 3 * * 1-5", paused: false });
  const read = await mergent.schedules.retrieve(cron.id);
  const listed = await mergent.schedules.list();
  const deleted = await mergent.schedules.delete(cron.id);
  const gone = await failure(mergent.schedules.retrieve(cron.id));
  const neither = await failure(mergent.schedules.create({ request }));
  return {
    cron, rule, paused, moved, read, listed: listed.map((schedule) => schedule.id), deleted: deleted === undefined, gone,
    neither,
  };
}

async function main() {
  const signature = mergent.requestValidator.buildSignature("Hello, world!");
  const stranger = await failure(new Mergent("wrong").tasks.list());
  console.log(JSON.stringify({ tasks: await tasks(), schedules: await schedules(), signature, stranger }));
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});

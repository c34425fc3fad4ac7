// graphile-worker: the verbs of play.py, in Node. A stamp is a positional write of eight bytes.

import { openSync, writeSync } from "node:fs";
import { createRequire } from "node:module";

// The package is not here but in the folder it was installed in.
const require = createRequire(`${process.env.BENCH_NODE}/package.json`);
const { Logger, makeWorkerUtils, run, runMigrations } = require("graphile-worker");

const connectionString = process.env.BENCH_URL;
const quiet = new Logger(() => () => {});
const file = openSync(process.env.BENCH_STAMPS, "r+");
const slot = Buffer.alloc(8);
const CHUNK = 1000;

const now = () => performance.timeOrigin + performance.now(); // milliseconds, and finer

const stamp = (n) => {
  slot.writeDoubleLE(now() / 1000);
  writeSync(file, slot, 0, 8, n * 8);
};

const range = (start, end) => Array.from({ length: end - start }, (_, index) => start + index);

const enqueue = async (utils, verb, count) => {
  const began = performance.now();
  if (verb === "one") {
    for (let n = 0; n < count; n++) await utils.addJob("noop", { n });
  } else {
    for (let start = 0; start < count; start += CHUNK) {
      const numbers = range(start, Math.min(count, start + CHUNK));
      await utils.addJobs(numbers.map((n) => ({ identifier: "noop", payload: { n } })));
    }
  }
  return { seconds: (performance.now() - began) / 1000 };
};

const offer = async (utils, count, pause) => {
  const asked = [];
  for (let n = 0; n < count; n++) {
    asked.push(now() / 1000);
    await utils.addJob("noop", { n });
    await new Promise((resolve) => setTimeout(resolve, pause * 1000));
  }
  return asked;
};

const work = async (concurrentJobs, local) => {
  const batched = { localQueue: { size: local }, completeJobBatchDelay: 0, failJobBatchDelay: 0 };
  await run({
    preset: {
      worker: {
        connectionString,
        concurrentJobs,
        maxPoolSize: Math.max(10, concurrentJobs + 2),
        logger: quiet,
        ...(local > 1 ? batched : {}),
      },
    },
    taskList: { noop: async ({ n }) => stamp(n) },
    parsedCronItems: [],
  });
};

const [verb, ...numbers] = process.argv.slice(2);
const [first, second] = numbers.map(Number);
if (verb === "work") {
  await work(first, second);
} else if (verb === "prepare") {
  await runMigrations({ connectionString, logger: quiet });
  console.log("null");
} else {
  const utils = await makeWorkerUtils({ connectionString, logger: quiet });
  console.log(JSON.stringify(verb === "idle" ? await offer(utils, first, second) : await enqueue(utils, verb, first)));
  await utils.release();
}

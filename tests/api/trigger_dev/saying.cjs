// What every scenario uses: it does its things one after the other, and prints what came of each.
"use strict";

async function failure(promise) {
  try {
    return { unexpected: await promise };
  } catch (error) {
    return { kind: error.constructor.name, status: error.status, message: error.message };
  }
}

function run(scenario) {
  scenario().then(
    (said) => process.stdout.write(JSON.stringify(said), () => process.exit(0)),
    (error) => process.stderr.write(String(error.stack ?? error), () => process.exit(1)),
  );
}

module.exports = { failure, run };

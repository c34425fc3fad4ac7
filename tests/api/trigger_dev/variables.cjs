// Environment variables. (envvars.update of this version of the package fails before it asks anything.)
"use strict";
const { apiClientManager } = require("@trigger.dev/core/v3");
const { envvars } = require("@trigger.dev/sdk");
const { failure, run } = require("./saying.cjs");

run(async () => {
  const api = apiClientManager.clientOrThrow();
  const here = ["proj_1", "prod"];
  const made = [await envvars.create(...here, { name: "GREETING", value: "Servus" }), await envvars.create(...here, { name: "TOKEN", value: "hunter2", isSecret: true })];
  const again = await envvars.create(...here, { name: "GREETING", value: "Servus" });
  const other = await failure(envvars.create(...here, { name: "GREETING", value: "Hello" }));
  const first = await envvars.list(...here);
  await envvars.upload(...here, { variables: { GREETING: "Ahoy", B: "b" } });
  const kept = await envvars.retrieve(...here, "GREETING");
  await envvars.upload(...here, { variables: { GREETING: "Ahoy", C: "c" }, override: true });
  await api.updateEnvVar(...here, "TOKEN", { value: "hunter3" });
  const deleted = await envvars.del(...here, "B");
  const refused = [
    await failure(envvars.del(...here, "B")), await failure(envvars.retrieve(...here, "NO")), await failure(api.updateEnvVar(...here, "NO", { value: "" })),
    await failure(envvars.create(...here, { name: "LD_PRELOAD", value: "x" })), await failure(envvars.create(...here, { name: "a b", value: "x" })),
    await failure(envvars.create(...here, { name: "A", value: "x".repeat(40_000) })), await failure(envvars.create(...here, { name: "A", value: "\u0000" })),
  ];
  return { made, again, other, first, kept, deleted, last: await envvars.list(...here), refused: refused.map((each) => each.status) };
});

// The TypeScript of docs/typescript.md, which is JavaScript, too.
"use strict";
const { readFileSync } = require("node:fs");
const { run } = require("./saying.cjs");

run(async () => {
  const said = [];
  for (const [, block] of readFileSync(process.argv[2], "utf-8").matchAll(/```typescript\n([^]*?)```/g)) {
    const body = block.replace(/^import (.*) from (".*");/gm, "const $1 = require($2);");
    await new Function("require", "console", `return (async () => {${body}})()`)(require, { log: (...parts) => said.push(parts.join(" ")) });
  }
  return said;
});

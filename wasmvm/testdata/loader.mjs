// Plays a script through the reference's loader, to be compared with ours, and writes one line of JSON for each step.
// usage: node --experimental-wasm-memory64 loader.mjs FOLDER-WITH-NODE_MODULES MODULE FORMAT SCRIPT ANSWERS
import fs from "node:fs";
import path from "node:path";
import { createHash } from "node:crypto";
import { createRequire } from "node:module";

const [folder, module, format, script, answers] = process.argv.slice(2);
const load = createRequire(path.resolve(folder, "any.js"))("@permaweb/ao-loader");
const code = fs.readFileSync(module);
const { env, steps } = JSON.parse(fs.readFileSync(script, "utf8"));

let handle = null; // an instance; after a failure the next step gets a new one, as the reference unit does it
let memory = null; // what stands
for (const { message, query } of steps) {
  handle ??= await load(code, { format });
  let answer;
  try {
    const r = await handle(memory, message, env);
    const { Memory, ...response } = r;
    answer = { ok: true, response };
    if (response.Error) handle = null;
    else if (!query) memory = Memory;
  } catch (e) {
    answer = { ok: false, response: e instanceof Error ? e.message : e };
    handle = null;
  }
  const digest = createHash("sha256").update(memory ?? new Uint8Array()).digest("hex");
  fs.appendFileSync(answers, JSON.stringify({ answer, digest, length: memory?.byteLength ?? 0 }) + "\n");
}
process.exit(0); // whatever the loader still waits for; what modules print goes to standard output

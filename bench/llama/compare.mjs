// Lets the built-in engine and llama.cpp take turns on the same files, and prints medians and their ratios.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { cpus, loadavg } from "node:os";
import { basename, dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const PROMPT = 256;
const ANSWER = 64;

const { values, positionals: models } = parseArgs({
  allowPositionals: true,
  options: {
    engine: { type: "string" },
    peer: { type: "string" },
    rounds: { type: "string", default: "5" },
    threads: { type: "string", default: "1,2" },
    json: { type: "boolean", default: false },
  },
});
const rounds = Number(values.rounds);
const threads = values.threads.split(",").map(Number);
const here = dirname(fileURLToPath(import.meta.url));

const run = (program, args) => {
  try {
    const out = execFileSync(program, args.map(String), { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] });
    return JSON.parse(out.trim().split("\n").at(-1));
  } catch (error) {
    console.error(`error: ${basename(program)} ${args.join(" ")}\n${error.stderr ?? error}`);
    process.exit(1);
  }
};
// llama.cpp computes attention in two ways; the better median of each figure counts.
const peer = (flash) => (model, count) =>
  run(process.execPath, [join(here, "peer.mjs"), values.peer, model, count, PROMPT, ANSWER, flash]);
const sides = {
  ours: (model, count) => run(values.engine, [model, "--turn", count]),
  plain: peer(0),
  flash: peer(1),
};
const median = (numbers) => numbers.toSorted((a, b) => a - b)[Math.floor(numbers.length / 2)];
const hasVnni = /\bavx512_vnni\b/.test(readFileSync("/proc/cpuinfo", "utf8"));
const all = { cpu: cpus()[0].model, cpus: cpus().length, load: loadavg()[0], rounds, rows: [] };

for (const model of models) {
  for (const count of threads) {
    const turns = { ours: [], plain: [], flash: [] };
    for (let round = 0; round < rounds; round++) {
      // Each round begins with another side, so that a slow minute hits all alike.
      const names = Object.keys(sides);
      for (const at of names.keys()) {
        const name = names[(at + round) % names.length];
        turns[name].push(sides[name](model, count));
        process.stderr.write(".");
      }
    }
    const of = (name, what) => median(turns[name].map((it) => it[what]));
    const theirs = (what) => Math.max(of("plain", what), of("flash", what));
    all.kernel = turns.ours[0].kernel;
    if (hasVnni && !turns.plain[0].features.includes("AVX512_VNNI = 1")) {
      console.error(`error: this processor has AVX-512 VNNI, and llama.cpp does not use it: ${turns.plain[0].features}`);
      process.exit(1);
    }
    all.peer = { build: turns.plain[0].build, libraries: turns.plain[0].libraries, features: turns.plain[0].features };
    all.rows.push({
      model: basename(model),
      threads: count,
      ours: { prompt: of("ours", "prompt"), answer: of("ours", "answer") },
      theirs: { prompt: theirs("prompt"), answer: theirs("answer") },
      turns,
    });
  }
}
process.stderr.write("\n");

if (values.json) {
  console.log(JSON.stringify(all, null, 2));
} else {
  console.log(`Processor  ${all.cpu}, ${all.cpus} seen; load when it began ${all.load.toFixed(1)}`);
  console.log(`Ours       sedge-lm, kernel ${all.kernel}`);
  console.log(`llama.cpp  ${all.peer.build}: ${all.peer.libraries.join(", ")}`);
  console.log(`           ${all.peer.features.trim()}`);
  console.log(
    `Method     ${PROMPT} prompt tokens, ${ANSWER} answer tokens, ${rounds} rounds in turn, medians of tokens per second;\n` +
      "           each turn is a process of its own that has warmed up; llama.cpp by its own timers, with and\n" +
      "           without flash attention, the better of both",
  );
  const line = (cells) => console.log(`| ${cells.join(" | ")} |`);
  line(["file", "threads", "prompt ours", "llama.cpp", "ratio", "answer ours", "llama.cpp", "ratio"]);
  line(["---", "--:", "--:", "--:", "--:", "--:", "--:", "--:"]);
  for (const { model, threads: count, ours, theirs } of all.rows) {
    const cells = (what) => [
      ours[what].toFixed(0),
      theirs[what].toFixed(0),
      `**${(ours[what] / theirs[what]).toFixed(2)}**`,
    ];
    line([model, count, ...cells("prompt"), ...cells("answer")]);
  }
}

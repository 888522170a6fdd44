// One turn of llama.cpp: loads a file, reads a prompt, writes tokens, prints its own timers as one line of JSON.
//
//   node peer.mjs INSTALLATION MODEL THREADS PROMPT ANSWER FLASH

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { pathToFileURL } from "node:url";

const [installation, modelPath, ...numbers] = process.argv.slice(2);
const [threads, promptTokens, answerTokens, flash] = numbers.map(Number);
const require = createRequire(`${installation}/package.json`);
const { getLlama, LlamaLogLevel } = await import(pathToFileURL(require.resolve("node-llama-cpp")).href);

const timers = [];
const llama = await getLlama({
  gpu: false,
  build: "never",
  progressLogs: false,
  maxThreads: threads,
  logLevel: LlamaLogLevel.info,
  logger(_level, message) {
    const timer = /(prompt eval|eval) time =\s*([\d.]+) ms \/\s*(\d+)/.exec(message);
    if (timer) timers.push({ what: timer[1], ms: Number(timer[2]), tokens: Number(timer[3]) });
  },
});
const model = await llama.loadModel({ modelPath });
const context = await model.createContext({
  contextSize: 512,
  batchSize: promptTokens,
  threads,
  flashAttention: flash === 1,
  performanceTracking: true,
});

// Everything that the first use costs is paid before the clock starts.
await turn(16, 4);
await context.printTimings();
timers.length = 0;
await turn(promptTokens, answerTokens);
await context.printTimings();

const rate = (what, expected) => {
  const timer = timers.find((it) => it.what === what);
  if (timer?.tokens !== expected) throw new Error(`llama.cpp's ${what} timer is ${JSON.stringify(timer)}`);
  return (expected * 1000) / timer.ms;
};
const loaded = readFileSync("/proc/self/maps", "utf8").match(/libggml-cpu[\w-]*\.so|libllama\.v?[\w.]*/g) ?? [];
console.log(
  JSON.stringify({
    prompt: rate("prompt eval", promptTokens),
    answer: rate("eval", answerTokens),
    build: llama.llamaCppRelease.release,
    libraries: [...new Set(loaded)],
    features: llama.systemInfo,
  }),
);
process.exit(0);

async function turn(prompt, answer) {
  const sequence = context.getSequence();
  const tokens = Array.from({ length: prompt }, (_, it) => (1000 + it * 7) % model.fileInfo.metadata.tokenizer.ggml.tokens.length);
  let seen = 0;
  // The first token that comes is the prompt's; each one more is a step of its own.
  for await (const _token of sequence.evaluate(tokens, { temperature: 0, yieldEogToken: true })) {
    if (++seen > answer) break;
  }
  await sequence.dispose();
}

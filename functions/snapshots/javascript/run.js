// Runs one JavaScript program per instance; the instance is thrown away afterwards.
//
// The snapshot is taken after this module is in memory. Nothing here knows the time or makes
// randomness: both are handed in, so that a run can be repeated. The engine is called and answers; it
// does not come back for what was promised, so the node hands in no code that promises or awaits.

const LONGEST = 400_004; // bytes of each stream that are kept: what a caller may see, and a little

function encode(text) {
  const bytes = [];
  for (const char of text) {
    let code = char.codePointAt(0);
    if (code >= 0xd800 && code <= 0xdfff) code = 0xfffd;
    if (code < 0x80) bytes.push(code);
    else if (code < 0x800) bytes.push(0xc0 | (code >> 6), 0x80 | (code & 63));
    else if (code < 0x10000) bytes.push(0xe0 | (code >> 12), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
    else bytes.push(0xf0 | (code >> 18), 0x80 | ((code >> 12) & 63), 0x80 | ((code >> 6) & 63), 0x80 | (code & 63));
  }
  return new Uint8Array(bytes);
}

// The input is JSON that our own side wrote: well-formed UTF-8.
function decode(bytes) {
  const parts = [];
  let part = "";
  for (let i = 0; i < bytes.length; ) {
    const first = bytes[i++];
    let code = first;
    if (first >= 0xf0) code = ((first & 7) << 18) | ((bytes[i++] & 63) << 12) | ((bytes[i++] & 63) << 6) | (bytes[i++] & 63);
    else if (first >= 0xe0) code = ((first & 15) << 12) | ((bytes[i++] & 63) << 6) | (bytes[i++] & 63);
    else if (first >= 0xc0) code = ((first & 31) << 6) | (bytes[i++] & 63);
    part += String.fromCodePoint(code);
    if (part.length > 4096) {
      parts.push(part);
      part = "";
    }
  }
  parts.push(part);
  return parts.join("");
}

function bytesOf(text) {
  let bytes = 0;
  for (const char of text) {
    const code = char.codePointAt(0);
    bytes += code < 0x80 ? 1 : code < 0x800 ? 2 : code < 0x10000 ? 3 : 4;
  }
  return bytes;
}

class Stream {
  constructor() {
    this.parts = [];
    this.size = 0;
    this.total = 0;
  }
  write(text) {
    text = String(text);
    this.total += bytesOf(text);
    if (this.size < LONGEST) {
      const kept = text.slice(0, LONGEST - this.size);
      this.parts.push(kept);
      this.size += kept.length;
    }
    return true;
  }
  text() {
    return this.parts.join("");
  }
}

class Exit {
  constructor(code) {
    this.code = code;
  }
}

function show(value, depth = 0, seen = []) {
  if (typeof value === "string") return depth === 0 ? value : `'${value.replace(/\\/g, "\\\\").replace(/'/g, "\\'")}'`;
  if (typeof value === "bigint") return `${value}n`;
  if (typeof value === "symbol") return value.toString();
  if (typeof value === "function") return value.name ? `[Function: ${value.name}]` : "[Function (anonymous)]";
  if (value === null || typeof value !== "object") return Object.is(value, -0) ? "-0" : String(value);
  if (seen.includes(value)) return "[Circular]";
  if (value instanceof Error) return value.stack ? `${value.name}: ${value.message}\n${value.stack}`.trimEnd() : `${value.name}: ${value.message}`;
  if (value instanceof Date) return value.toISOString();
  if (value instanceof RegExp) return String(value);
  const below = [...seen, value];
  const inner = (it) => (depth >= 3 && it !== null && typeof it === "object" ? "[Object]" : show(it, depth + 1, below));
  const fit = (open, items, close) => (items.length === 0 ? open.trim() + close.trim() : open + items.join(", ") + close);
  if (Array.isArray(value) || ArrayBuffer.isView(value)) return fit("[ ", Array.from(value).map(inner), " ]");
  if (value instanceof Map) return fit(`Map(${value.size}) { `, [...value].map(([k, v]) => `${inner(k)} => ${inner(v)}`), " }");
  if (value instanceof Set) return fit(`Set(${value.size}) { `, [...value].map(inner), " }");
  const name = value.constructor && value.constructor !== Object ? `${value.constructor.name} ` : "";
  const key = (it) => (/^[A-Za-z_$][\w$]*$/.test(it) ? it : `'${it}'`);
  return fit(`${name}{ `, Object.keys(value).map((it) => `${key(it)}: ${inner(value[it])}`), " }");
}

function words(values) {
  return values.map((it) => show(it)).join(" ") + "\n";
}

// Timers run in the order of their times, without waiting: the clock jumps to each.
function timers(clock) {
  const waiting = [];
  let next = 1;
  const add = (repeat) => (run, delay = 0, ...args) => {
    delay = Math.max(1, Number(delay) || 0);
    const id = next++;
    waiting.push({ id, at: clock.now + delay, every: repeat ? delay : 0, run: () => run(...args) });
    return id;
  };
  const remove = (id) => {
    const index = waiting.findIndex((it) => it.id === id);
    if (index >= 0) waiting.splice(index, 1);
  };
  const step = () => {
    if (waiting.length === 0) return false;
    let first = waiting[0];
    for (const timer of waiting) if (timer.at < first.at || (timer.at === first.at && timer.id < first.id)) first = timer;
    clock.now = Math.max(clock.now, first.at);
    if (first.every > 0) first.at = clock.now + first.every;
    else remove(first.id);
    first.run();
    return true;
  };
  return { step, setTimeout: add(false), setInterval: add(true), clearTimeout: remove, clearInterval: remove, setImmediate: (run, ...args) => add(false)(run, 0, ...args) };
}

function clockOf(now) {
  const clock = { now };
  const Real = globalThis.Date;
  globalThis.Date = class Date extends Real {
    constructor(...args) {
      if (args.length === 0) super(clock.now);
      else super(...args);
    }
    static now() {
      return clock.now;
    }
  };
  globalThis.performance = { now: () => clock.now - now, timeOrigin: now };
  return clock;
}

// The same sequence for the same seed: mulberry32.
function chance(seed) {
  let state = seed >>> 0;
  Math.random = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let it = Math.imul(state ^ (state >>> 15), state | 1);
    it ^= it + Math.imul(it ^ (it >>> 7), it | 61);
    return ((it ^ (it >>> 14)) >>> 0) / 4294967296;
  };
}

function surround(asked, out, err) {
  const clock = clockOf(asked.now_ms);
  chance(asked.seed);
  const time = timers(clock);
  const { step, ...globals } = time;
  Object.assign(globalThis, globals);
  globalThis.global = globalThis;
  const log = (...values) => void out.write(words(values));
  const warn = (...values) => void err.write(words(values));
  globalThis.console = { log, info: log, debug: log, dir: log, warn, error: warn, trace: warn, assert: (it, ...values) => it || warn("Assertion failed", ...values) };
  globalThis.print = log;
  const stdin = asked.stdin;
  const readFileSync = (path) => {
    if (path === 0 || path === "/dev/stdin") return stdin;
    throw new Error(`there are no files here: ${path}`);
  };
  globalThis.process = {
    argv: ["node", "main.js", ...(asked.args ?? [])],
    env: {},
    platform: "wasi",
    stdout: { write: (it) => out.write(it) },
    stderr: { write: (it) => err.write(it) },
    hrtime: { bigint: () => BigInt(clock.now) * 1000000n },
    nextTick: (run, ...args) => void globals.setTimeout(run, 0, ...args),
    exitCode: undefined,
    exit: (code) => {
      throw new Exit(code ?? globalThis.process.exitCode ?? 0);
    },
  };
  globalThis.require = (name) => {
    if (name === "fs" || name === "node:fs") return { readFileSync };
    throw new Error(`there is no module here: ${name}`);
  };
  return step;
}

export function process(input) {
  const asked = JSON.parse(decode(input));
  const out = new Stream();
  const err = new Stream();
  const step = surround(asked, out, err);
  let code = 0;
  try {
    (0, eval)(asked.code);
    // What was put off runs before the end, as anywhere else.
    while (step());
    code = Number(globalThis.process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof Exit) code = Number(error.code);
    else {
      err.write(`Uncaught ${show(error)}\n`);
      code = 1;
    }
  }
  const answer = {
    exit_code: code & 0xff,
    stdout: out.text(),
    stdout_bytes: out.total,
    stderr: err.text(),
    stderr_bytes: err.total,
  };
  return encode(JSON.stringify(answer));
}

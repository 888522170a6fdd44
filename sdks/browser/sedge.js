// A page at a node: joins over a WebSocket, signs what it says, checks what it hears.
//
// No dependency, no build. Needs WebCrypto with Ed25519 and therefore a secure context: https, or a
// page of this machine.
//
//   import { join } from "./sedge.js";
//   const page = await join({ url: "wss://box.lan:7379/ws", token, node, name: "kitchen display" });
//   page.onmessage = ({ from, topic, body }) => console.log(from, topic, body);
//   await page.send("notes", { text: "milk" }); // resolves when the node has verified it

const VERSION = "sedge-page/1";
const encoder = new TextEncoder();

const hex = (bytes) => Array.from(new Uint8Array(bytes), (it) => it.toString(16).padStart(2, "0")).join("");
const unhex = (text) => Uint8Array.from(text.match(/../g) ?? [], (it) => parseInt(it, 16));

/** Writes JSON as RFC 8785 has it: one text for one value. */
export function canonical(value) {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (value === null || typeof value !== "object") return JSON.stringify(value);
  const keys = Object.keys(value).filter((it) => value[it] !== undefined).sort();
  return `{${keys.map((it) => `${JSON.stringify(it)}:${canonical(value[it])}`).join(",")}}`;
}

async function sign(keys, facts) {
  return hex(await crypto.subtle.sign("Ed25519", keys.privateKey, encoder.encode(canonical(facts))));
}

/** Returns whether the key with these 32 bytes signed these facts. */
export async function verify(key, facts, signature) {
  const known = await crypto.subtle.importKey("raw", unhex(key), "Ed25519", false, ["verify"]);
  return crypto.subtle.verify("Ed25519", known, unhex(signature), encoder.encode(canonical(facts)));
}

/** Makes a key that never leaves the browser; keep it in IndexedDB to be the same page again. */
export function generateKeys() {
  return crypto.subtle.generateKey("Ed25519", false, ["sign", "verify"]);
}

/**
 * Joins a node as a page.
 *
 * `node` is the node's id, 64 hexadecimal digits: whoever answers and is not that node is refused,
 * whatever its certificate says. `token` names the right `door:page`. `keys` come from
 * `generateKeys`; new ones are made without.
 */
export async function join({ url, token, node, name = "", keys }) {
  keys ??= await generateKeys();
  const page = hex(await crypto.subtle.exportKey("raw", keys.publicKey));
  const socket = new WebSocket(url);
  const inbox = new Inbox(socket);
  try {
    const hello = await inbox.next("hello");
    if (hello.version !== VERSION) throw new Error(`the node speaks ${hello.version}`);
    if (hello.node !== node) throw new Error("another node answers");
    const nonce = hex(crypto.getRandomValues(new Uint8Array(16)));
    const both = { node, session: hello.nonce, page, page_nonce: nonce };
    const signature = await sign(keys, { context: `${VERSION} join`, ...both, name });
    socket.send(JSON.stringify({ type: "join", token, page, name, nonce, signature }));
    const joined = await inbox.next("joined");
    if (!(await verify(node, { context: `${VERSION} joined`, ...both }, joined.signature))) {
      throw new Error("the node did not sign");
    }
    return new Page(socket, inbox, keys, { node, session: hello.nonce, page });
  } catch (error) {
    socket.close();
    throw error;
  }
}

/** A page that has joined. */
export class Page {
  #socket;
  #keys;
  #node;
  #session;
  #last = 0;
  #turn = Promise.resolve();
  #waiting = new Map();

  /** The page's own key. */
  key;
  /** Called with `{ from, topic, body }` for each message of another page whose signature holds. */
  onmessage = () => {};
  /** Called with a reason when the connection has ended. */
  onclose = () => {};

  constructor(socket, inbox, keys, { node, session, page }) {
    this.#socket = socket;
    this.#keys = keys;
    this.#node = node;
    this.#session = session;
    this.key = page;
    inbox.hand((message) => this.#take(message), (reason) => this.#end(reason));
  }

  /** Signs and sends a message; resolves with its number when the node has verified it. */
  send(topic, body) {
    // One after the other: numbers only grow.
    const sent = this.#turn.then(async () => {
      const seq = ++this.#last;
      const facts = { context: `${VERSION} message`, node: this.#node, session: this.#session };
      const signature = await sign(this.#keys, { ...facts, seq, topic, body });
      this.sendRaw({ type: "message", seq, topic, body, signature });
      return seq;
    });
    this.#turn = sent.catch(() => {});
    return sent.then((seq) => new Promise((resolve, reject) => this.#waiting.set(seq, { resolve, reject })));
  }

  /** Sends what is signed already, such as by another program. */
  sendRaw(message) {
    this.#socket.send(JSON.stringify(message));
  }

  close() {
    this.#socket.close();
  }

  async #take(message) {
    if (message.type === "verified") {
      this.#waiting.get(message.seq)?.resolve(message.seq);
      this.#waiting.delete(message.seq);
    } else if (message.type === "message") {
      const { from, session, seq, topic, body, signature } = message;
      const facts = { context: `${VERSION} message`, node: this.#node, session, seq, topic, body };
      if (await verify(from, facts, signature)) this.onmessage({ from, topic, body });
    }
  }

  #end(reason) {
    for (const { reject } of this.#waiting.values()) reject(new Error(reason));
    this.#waiting.clear();
    this.onclose(reason);
  }
}

/** What comes before the page has joined, in its order. */
class Inbox {
  #messages = [];
  #wake = () => {};
  #ended = null;
  #take = null;
  #end = null;

  constructor(socket) {
    socket.onmessage = ({ data }) => {
      const message = JSON.parse(data);
      if (this.#take) return this.#take(message);
      this.#messages.push(message);
      this.#wake();
    };
    socket.onclose = ({ reason }) => {
      this.#ended = reason || "the connection has ended";
      this.#end?.(this.#ended);
      this.#wake();
    };
  }

  async next(type) {
    while (this.#messages.length === 0) {
      if (this.#ended) throw new Error(this.#ended);
      await new Promise((resolve) => (this.#wake = resolve));
    }
    const message = this.#messages.shift();
    if (message.type !== type) throw new Error(`the node says ${message.type}, not ${type}`);
    return message;
  }

  hand(take, end) {
    this.#take = take;
    this.#end = end;
    this.#messages.splice(0).forEach(take);
    if (this.#ended) end(this.#ended);
  }
}

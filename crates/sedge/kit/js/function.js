// A function over bytes: a name in, a greeting out. Every task has a fresh instance.

export function process(input) {
  const name = decode(input).trim();
  // What is thrown as a text is told to the caller.
  if (name === "") throw "say a name";
  return encode(`Hello, ${name}!`);
}

// The engine is QuickJS, which has no TextDecoder and no TextEncoder.
function decode(bytes) {
  const escaped = Array.from(bytes, (it) => "%" + it.toString(16).padStart(2, "0"));
  return decodeURIComponent(escaped.join(""));
}

function encode(text) {
  return Uint8Array.from(unescape(encodeURIComponent(text)), (it) => it.charCodeAt(0));
}

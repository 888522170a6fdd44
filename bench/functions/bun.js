// The same as functions/web: the body of a POST in upper case. Started by `bun run`, which gives it a port.
Bun.serve({
  hostname: "127.0.0.1",
  port: Number(process.argv[2]),
  fetch: async (request) => new Response((await request.text()).toUpperCase()),
});

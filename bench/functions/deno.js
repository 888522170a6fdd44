// The same as functions/web: the body of a POST in upper case. Started by `deno run`, which gives it a port.
Deno.serve(
  { hostname: "127.0.0.1", port: Number(Deno.args[0]), onListen() {} },
  async (request) => new Response((await request.text()).toUpperCase()),
);

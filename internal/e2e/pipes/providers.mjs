// Runs the providers of the tests, each behind a gate of its own, and a door to steer them by:
//
//   node providers.mjs     prints one line of JSON: {"control": URL, "providers": {NAME: ORIGIN}}
//
// A provider begins when a test registers its client there: only by then is its redirect URI known. The
// process ends with its standard input, so that it never outlives the harness.
import http from "node:http";
import * as emulators from "./emulators.mjs";
import { Gate } from "./gate.mjs";
import * as oidc from "./oidc.mjs";
import * as zitadel from "./zitadel.mjs";

const defaultLifetime = 3600;

class RunningProvider {
  gate;
  lifetime = defaultLifetime;
  #start;
  #backend;

  constructor(tokenPath, start) {
    this.gate = new Gate(tokenPath);
    this.#start = start;
  }

  // An empty provider that knows this client.
  async register(client) {
    await this.#backend?.close();
    this.#backend = await this.#start(this, client);
    this.client = client;
    this.gate.leadTo(this.#backend.port);
  }

  origin(host) {
    return `http://${host}:${this.gate.port}`;
  }
}

// Two have another host than everything else here, so that for a browser they are other sites. The others of
// their kind have clients that authenticate in the other ways, or take no request that was not pushed.
const host = (name) => (["oidc", "oidc-form"].includes(name) ? "localhost" : "127.0.0.1");
const providers = {
  zitadel: new RunningProvider(zitadel.tokenPath, (p, client) => zitadel.start(p.origin(host("zitadel")), client)),
};
const options = { "oidc-pushed": { pushedAuthorizationRequests: { enabled: true, requirePushedAuthorizationRequests: true } } };
for (const name of ["oidc", "oidc-basic", "oidc-post", "oidc-none", "oidc-form", "oidc-pushed"]) {
  providers[name] = new RunningProvider(oidc.tokenPath, (p, client) => oidc.start(p.origin(host(name)), client, () => p.lifetime, options[name]));
}
for (const [service, tokenPath] of Object.entries(emulators.tokenPaths)) {
  providers[service] = new RunningProvider(tokenPath, (p, client) => emulators.start(service, p.origin("127.0.0.1"), client));
}

// What a test may ask of a provider: POST /NAME/VERB with JSON, answered with JSON.
const verbs = {
  client: (p, client) => p.register(client),
  lifetime: (p, { seconds }) => {
    p.lifetime = seconds ?? defaultLifetime;
    p.gate.shorten(seconds);
  },
  slow: (p, { milliseconds }) => p.gate.slow(milliseconds),
  down: (p) => p.gate.down(),
  up: (p) => p.gate.up(),
  burn: (p) => p.gate.burn(p.client),
  revoke: (p, { path }) => p.gate.revoke(p.client, path),
  log: (p) => p.gate.log,
  remember: (p, { secrets }) => secrets.forEach((secret) => p.gate.secrets.add(secret)),
  secrets: (p) => [...p.gate.secrets],
};

const control = http.createServer(async (request, response) => {
  const answer = (status, body) => response.writeHead(status, { "content-type": "application/json" }).end(JSON.stringify(body ?? {}));
  try {
    const [, name, verb] = request.url.split("/");
    const chunks = [];
    for await (const chunk of request) {
      chunks.push(chunk);
    }
    answer(200, await verbs[verb](providers[name], JSON.parse(Buffer.concat(chunks).toString() || "{}")));
  } catch (error) {
    answer(500, { error: error.message });
  }
});

await Promise.all(Object.values(providers).map((p) => p.gate.up()));
await new Promise((resolve) => control.listen(0, "127.0.0.1", resolve));
console.log(JSON.stringify({
  control: `http://127.0.0.1:${control.address().port}`,
  providers: Object.fromEntries(Object.entries(providers).map(([name, p]) => [name, p.origin(host(name))])),
}));
process.stdin.on("end", () => process.exit(0)).resume();

// Providers as they are in the wild: npm emulate has the endpoints, replies and errors of GitHub, Google,
// Slack, Microsoft and Linear. seed.json holds their users, and the client's registration but for what
// is known at run time only.
import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { createEmulator } from "emulate";

// Where each one's token endpoint is.
export const tokenPaths = {
  github: "/login/oauth/access_token",
  google: "/oauth2/token",
  slack: "/api/oauth.v2.access",
  microsoft: "/oauth2/v2.0/token",
  linear: "/oauth/token",
};

const seed = JSON.parse(readFileSync(new URL("seed.json", import.meta.url), "utf8"));

// Starts one with a single registered client {client_id, client_secret, redirect_uris} and returns its
// port on loopback. base is where the world sees it.
export async function start(service, base, client) {
  const port = await freePort();
  const list = seed[service].oauth_apps ? "oauth_apps" : "oauth_clients";
  const [registration] = seed[service][list];
  const emulator = await createEmulator({
    service, port, baseUrl: base,
    seed: { [service]: { ...seed[service], [list]: [{ ...registration, ...client }] } },
  });
  return { port, close: () => emulator.close() };
}

// Another process could take the port meanwhile; then the emulator does not start, and says so.
async function freePort() {
  const server = createServer();
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address();
  await new Promise((resolve) => server.close(resolve));
  return port;
}

// Another authorization server that keeps to the standards: Zitadel's, in package zitadel of internal/e2e,
// as the program that CULVERT_ZITADEL names. An old refresh token is refused there, and ends nothing.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";

export const tokenPath = "/oauth/token";

// Starts one with a single registered client {client_id, client_secret, redirect_uris} and returns its
// port on loopback. issuer is where the world sees it.
export async function start(issuer, client) {
  const child = spawn(process.env.CULVERT_ZITADEL, { stdio: ["pipe", "pipe", "inherit"] });
  child.stdin.write(`${JSON.stringify({ issuer: `${issuer}/`, ...client })}\n`);
  const [port] = await once(createInterface(child.stdout), "line");
  return { port: Number(port), close: () => child.stdin.end() };
}

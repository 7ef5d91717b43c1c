// What every suite here shares: clients of the server under test, names and values that collide with
// nothing, and the check of a refusal.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { WorkOS } from "@workos-inc/node";

const base = new URL(required("CULVERT_BASE_URL"));

// The key arrives as a file: an environment variable would show it to every child process.
export const apiKey = readFileSync(required("CULVERT_API_KEY_FILE"), "utf8").trim();

export const uuid = /^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$/;
export const ulid = "[0-9A-HJKMNP-TV-Z]{26}";

function required(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set: start this suite through "go test -tags e2e ./internal/e2e/..."`);
  }
  return value;
}

// The SDK with nothing changed but where it sends its requests.
export function client(key = apiKey) {
  return new WorkOS(key, { apiHostname: base.hostname, port: Number(base.port), https: false });
}

// The SDK takes hold of the global fetch when it is constructed, so a suite can stand between it and
// the server without touching its code.
export function clientThrough(fetch, key = apiKey) {
  const original = globalThis.fetch;
  globalThis.fetch = fetch;
  try {
    return client(key);
  } finally {
    globalThis.fetch = original;
  }
}

// A client and the list of what went over the wire: {method, path, query, status, headers, body}.
export function recordingClient(key = apiKey) {
  const wire = [];
  const direct = globalThis.fetch;
  const workos = clientThrough(async (url, init) => {
    const response = await direct(url, init);
    const { pathname, searchParams } = new URL(url);
    wire.push({
      method: init.method,
      path: pathname,
      query: Object.fromEntries(searchParams),
      sent: init.headers,
      status: response.status,
      headers: response.headers,
      body: await response.clone().json(),
    });
    return response;
  }, key);
  return { workos, wire };
}

// Names and values carry marks that the harness looks for in the data directory afterwards: it must
// find the name's, and must not find the value's.
export const unique = (rest = "") => `e2e-name-${randomUUID()}${rest}`;
export const secret = (rest = "") => `e2e-plaintext-${randomUUID()}${rest}`;

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

export async function create(workos, { name = unique(), value = secret(), context = {} } = {}) {
  const metadata = await workos.vault.createObject({ name, value, context });
  return { name, value, metadata, id: metadata.id, object: { id: metadata.id, name, value, metadata } };
}

// Requires that call fails with exactly this exception and status, and returns the exception.
export async function refused(call, exception, status) {
  try {
    await call;
  } catch (error) {
    assert.equal(error.constructor.name, exception.name, `${error.constructor.name}: ${error.message}`);
    assert.ok(error instanceof exception);
    assert.equal(error.status, status);
    assert.match(error.requestID, /\S/, "a refusal names its request");
    return error;
  }
  assert.fail(`wanted ${exception.name} (${status}), but the call succeeded`);
}

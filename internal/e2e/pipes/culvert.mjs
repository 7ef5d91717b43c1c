// What every suite here shares: the SDK against the server under test, the providers, and the way of a
// user from the application to a connected account and back.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { WorkOS } from "@workos-inc/node";
import { Browser } from "./browser.mjs";

export const base = required("CULVERT_BASE_URL");
const apiKey = readFileSync(required("CULVERT_API_KEY_FILE"), "utf8").trim();
const { control, providers } = JSON.parse(required("CULVERT_PROVIDERS"));

// Where the application lives that users come from and return to. Nothing listens there.
export const app = "http://127.0.0.1:9";
export const returnTo = `${app}/connected?from=settings`;

function required(name) {
  const value = process.env[name];
  if (!value) {
    throw new Error(`${name} is not set: start this suite through "go test -tags e2e ./internal/e2e/..."`);
  }
  return value;
}

const { hostname, port } = new URL(base);
export const workos = new WorkOS(apiKey, { apiHostname: hostname, port: Number(port), https: false });

// A request as it is, without an SDK: {status, headers, body}, where no body is null.
export async function call(method, path, body) {
  const response = await fetch(base + path, {
    method,
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
    body: body && JSON.stringify(body),
  });
  const text = await response.text();
  return { status: response.status, headers: response.headers, body: text === "" ? null : JSON.parse(text) };
}

// One provider under test, and its side door.
export class Provider {
  constructor(name) {
    this.name = name;
    this.origin = providers[name];
  }

  async ask(verb, body = {}) {
    const response = await fetch(`${control}/${this.name}/${verb}`, { method: "POST", body: JSON.stringify(body) });
    const answer = await response.json();
    assert.equal(response.status, 200, `${this.name}, ${verb}: ${answer.error}`);
    return answer;
  }

  // How often its token endpoint was asked to refresh.
  async refreshes() {
    return (await this.ask("log")).filter((entry) => entry.grant === "refresh_token").length;
  }
}

// Users have a mark that the harness looks for in the data directory: its search must find something.
export const newUser = () => `e2e-name-user_${randomUUID()}`;
const newSecret = () => `e2e-plaintext-${randomUUID()}`;

// Creates an integration through the SDK and registers its client at the provider, as somebody would who
// copies the redirect URI from one to the other, with how the client authenticates if it is not in the body.
// The provider begins anew.
export async function integrate(provider, options, method) {
  const credentials = { type: "custom", clientId: `client-${randomUUID()}`, ...(method !== "none" && { clientSecret: newSecret() }) };
  const integration = await workos.pipes.createDataIntegration({ enabled: true, credentials, ...options });
  await provider.ask("client", {
    client_id: credentials.clientId, client_secret: credentials.clientSecret, redirect_uris: [integration.redirectUri],
    ...(method && { token_endpoint_auth_method: method }),
  });
  return { integration, credentials };
}

// A user's browser: it stops where the application is.
export const newBrowser = () => new Browser().stopAt(`${app}/`);

// The URL that the application sends its user to.
export async function authorize(provider, slug, userId, options = {}) {
  const { url } = await workos.pipes.authorizeDataIntegration({ slug, userId, returnTo, ...options });
  const ticket = url.match(/^(.*)\/data-integrations\/([^/]+)\/authorize-redirect$/);
  assert.equal(ticket?.[1], base, `the URL is not on the server's origin: ${url}`);
  await provider.ask("remember", { secrets: [ticket[2].split("-").at(-1)] });
  return url;
}

// From the URL over the confirmation page to the provider's first page.
export async function depart(browser, url) {
  const page = await browser.open(url);
  assertPage(page, 200);
  return browser.submit(page);
}

// The whole way, with consent: what the application learns at its return_to.
export async function connect({ provider, slug = provider.name, user, browser = newBrowser(), signIn, ...options }) {
  const url = await authorize(provider, slug, user, options);
  const end = await signIn(browser, await depart(browser, url));
  const landed = arrived(end);
  assert.deepEqual([...landed.keys()], ["from", "status", "connected_account_id"], end.url);
  assert.equal(landed.get("status"), "connected");
  return landed.get("connected_account_id");
}

// The same way up to the callback, which is not opened: what the provider sends the browser there with.
export async function returning({ provider, slug = provider.name, user, browser, integration, signIn }) {
  browser.stopAt(integration.redirectUri);
  const callback = await signIn(browser, await depart(browser, await authorize(provider, slug, user)));
  assert.ok(callback.stopped, `not sent back, but ended at ${callback.url} (${callback.status}):\n${callback.html.slice(0, 2000)}`);
  browser.stopAt(`${app}/`);
  return new URL(callback.url);
}

// The query with which the browser came back to the application.
export function arrived(page) {
  assert.ok(page.stopped && page.url.startsWith(returnTo), `did not return, but ended at ${page.url} (${page.status}):\n${page.html.slice(0, 2000)}`);
  return new URL(page.url).searchParams;
}

// Requires a page of ours for people: readable, complete in itself, and kept by nobody.
export function assertPage(page, status) {
  assert.equal(page.status, status, page.html);
  assert.ok(page.url.startsWith(`${base}/`), page.url);
  assert.match(page.headers.get("content-type"), /^text\/html; charset=utf-8$/i);
  assert.equal(page.headers.get("cache-control"), "no-store");
  assert.equal(page.headers.get("referrer-policy"), "no-referrer");
  const policy = page.headers.get("content-security-policy");
  for (const directive of ["default-src 'none'", "frame-ancestors 'none'", "base-uri 'none'"]) {
    assert.ok(policy.includes(directive), `no ${directive} in ${policy}`);
  }
  assert.doesNotMatch(policy, /unsafe|script-src/);
  assert.match(page.html, /^<!doctype html>/i);
  assert.match(page.html, /<h1>[^<]+<\/h1>/);
  assert.match(page.html, /<meta name="viewport"/);
  assert.doesNotMatch(page.html, /<script|\bsrc=|@import|url\(/i);
}

// An access token that works now, as the application gets it.
export async function token(slug, userId, options = {}) {
  const answer = await workos.pipes.getAccessToken({ provider: slug, userId, ...options });
  assert.equal(answer.active, true, answer.error);
  return answer.accessToken;
}

// Requires that there is none, and why.
export async function noToken(slug, userId, why) {
  const answer = await workos.pipes.getAccessToken({ provider: slug, userId });
  assert.deepEqual({ ...answer }, { active: false, error: why });
}

export const account = (slug, userId) => workos.pipes.getUserConnectedAccount({ slug, userId });

// A user's events of one type, oldest first.
export async function events(type, userId) {
  const found = [];
  for (let after; ;) {
    const { data, listMetadata } = await workos.events.listEvents({ events: [`pipes.${type}`], limit: 100, order: "asc", after });
    // Types of our own come through the SDK as they are on the wire.
    found.push(...data.map((event) => event.data).filter((about) => (about.userId ?? about.user_id) === userId));
    after = listMetadata.after;
    if (!after) {
      return found;
    }
  }
}

export const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

// Waits until a vended token has ended.
export const ended = (vended) => sleep(Math.max(0, new Date(vended.expiresAt) - Date.now()) + 50);

// Tries again until check does not throw; what it threw last is the failure.
export async function eventually(check, ms = 10_000) {
  const until = Date.now() + ms;
  for (;;) {
    try {
      return await check();
    } catch (error) {
      if (Date.now() > until) {
        throw error;
      }
      await sleep(100);
    }
  }
}

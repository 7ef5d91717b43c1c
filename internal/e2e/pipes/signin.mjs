// How users sign in and consent, provider by provider, in a browser without a screen.
import assert from "node:assert/strict";

// The emulators show a list of users, one form each; to choose one is to consent.
export const choose = (user) => (browser, page) => browser.submit(page, { pick: (form) => form.html.includes(user) });

// oidc-provider asks for a name and any password, then for consent.
export const alice = async (browser, page) => browser.submit(await login(browser, page), { pick: consents });

export async function login(browser, page) {
  const consent = await browser.submit(page, { fields: { login: "alice", password: "any" } });
  assert.ok(consent.forms.some(consents), `no consent is asked for at ${consent.url}`);
  return consent;
}

// Zitadel's example asks for a name and a password, and for no consent.
export const tester = (browser, page) => browser.submit(page, { fields: { username: "test-user@127.0.0.1", password: "verysecure" } });

const consents = (form) => form.fields.prompt === "consent";

// The link by which a user says no.
export function deny(browser, page) {
  const [, href] = page.html.match(/href="([^"]*\/abort)"/);
  return browser.follow(page, href);
}

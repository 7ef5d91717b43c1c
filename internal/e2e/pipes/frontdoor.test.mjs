// The ways to connect an account, and to be rid of one, that the other suites do not take.
import assert from "node:assert/strict";
import { createHash, randomBytes, randomUUID } from "node:crypto";
import { before, describe, test } from "node:test";
import {
  Provider, account, arrived, authorize, call, connect, depart, ended, eventually, integrate, newBrowser, newUser, noToken, returnTo, token, workos,
} from "./culvert.mjs";
import { alice } from "./signin.mjs";

const provider = new Provider("oidc");
const slug = "front-id";
const plaintext = () => `e2e-plaintext-${randomUUID()}`;

async function whoami(value) {
  const response = await fetch(`${provider.origin}/me`, { headers: { authorization: `Bearer ${value}` } });
  return response.ok ? (await response.json()).sub : response.status;
}

const connected = (user, options) => connect({ provider, slug, user, signIn: alice, ...options });

let credentials;
before(async () => {
  const scopes = ["openid", "email", "offline_access"];
  const made = await integrate(provider, {
    provider: slug, scopes,
    customProvider: {
      name: "Front ID", authorizationUrl: `${provider.origin}/auth`, tokenUrl: `${provider.origin}/token`,
      additionalAuthorizationParameters: { prompt: "consent" },
    },
  });
  credentials = made.credentials;
  // What the SDK has no words for.
  const { status } = await call("PUT", `/data-integrations/${slug}`, {
    custom_provider: { identity_url: `${provider.origin}/me`, revocation_url: `${provider.origin}/token/revocation` },
  });
  assert.equal(status, 200);
  const shared = await workos.pipes.createDataIntegration({ provider: slug, ownership: "organization", enabled: true, scopes, credentials });
  await provider.ask("client", {
    client_id: credentials.clientId, client_secret: credentials.clientSecret,
    redirect_uris: [made.integration.redirectUri, shared.redirectUri],
  });
});

describe("accounts without a browser", () => {
  test("an API key is installed, vended and replaced, and is no token", async () => {
    const [own, userId, first, second] = ["front-weather", newUser(), plaintext(), plaintext()];
    const made = await call("POST", "/data-integrations", {
      provider: own, enabled: true, auth_methods: ["api_key"], custom_provider: { name: "Weather" },
    });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    const installed = await workos.pipes.updateDataIntegrationApiKey({ slug: own, userId, secret: first });
    assert.deepEqual([installed.state, installed.authMethod, installed.apiKeyLast4], ["connected", "api_key", first.slice(-4)]);
    const vend = async () => (await workos.pipes.createDataIntegrationCredential({ slug: own, userId })).credential.value;
    assert.equal(await vend(), first);
    const replaced = await workos.pipes.updateDataIntegrationApiKey({ slug: own, userId, secret: second });
    assert.equal(replaced.id, installed.id);
    assert.equal(await vend(), second);
    const refusal = await call("POST", `/data-integrations/${own}/token`, { user_id: userId });
    assert.deepEqual([refusal.status, refusal.body.code], [422, "auth_method_mismatch"]);
  });

  test("a client of one's own is tried when it is installed, and fetches the next token when one has ended", async () => {
    const [own, userId] = ["front-machines", newUser()];
    const made = await call("POST", "/data-integrations", {
      provider: own, enabled: true, auth_methods: ["client_credentials"],
      custom_provider: { name: "Machines", token_url: `${provider.origin}/token` },
    });
    assert.equal(made.status, 201, JSON.stringify(made.body));
    const { clientId, clientSecret } = credentials;
    await assert.rejects(
      workos.pipes.updateDataIntegrationClientCredentials({ slug: own, userId, clientId, clientSecret: plaintext() }), { status: 422 },
    );
    await provider.ask("lifetime", { seconds: 2 });
    const installed = await workos.pipes.updateDataIntegrationClientCredentials({ slug: own, userId, clientId, clientSecret });
    assert.deepEqual([installed.state, installed.authMethod], ["connected", "client_credentials"]);
    const vend = async () => (await workos.pipes.createDataIntegrationCredential({ slug: own, userId })).credential;
    const first = await vend();
    await ended(first);
    await provider.ask("lifetime");
    const second = await vend();
    assert.notEqual(second.value, first.value);
    assert.ok(new Date(second.expiresAt) > new Date(first.expiresAt));
  });
});

describe("accounts of others", () => {
  test("what a user connects for an organization is the organization's", async () => {
    const [user, organizationId] = [newUser(), `org_${randomUUID()}`];
    const id = await connected(user, { organizationId, connectionOwner: "organization" });
    const shared = await workos.pipes.getOrganizationConnectedAccount({ organizationId, slug });
    assert.deepEqual([shared.id, shared.state, shared.organizationId], [id, "connected", organizationId]);
    const vended = await token(slug, newUser(), { organizationId, connectionOwner: "organization" });
    assert.equal(await whoami(vended.accessToken), "alice");
    await noToken(slug, user, "not_installed");
    await workos.pipes.deleteOrganizationConnectedAccount({ organizationId, slug });
    await assert.rejects(workos.pipes.getOrganizationConnectedAccount({ organizationId, slug }), { status: 404 });
  });

  test("of several accounts one has to be named, and each is vended and removed by itself", async () => {
    const userId = newUser();
    const tokens = [plaintext(), plaintext()];
    const ids = [];
    for (const accessToken of tokens) {
      ids.push((await workos.pipes.createUserConnectedAccount({ slug, userId, accessToken, connectionIntent: "add" })).id);
    }
    const several = { supportsMultipleConnections: true };
    await assert.rejects(workos.pipes.getAccessToken({ provider: slug, userId, ...several }), { status: 409 });
    const refusal = await call("POST", `/data-integrations/${slug}/token`, { user_id: userId, supports_multiple_connections: true });
    assert.equal(refusal.body.code, "account_selection_required");
    for (const [n, connectedAccountId] of ids.entries()) {
      assert.equal((await token(slug, userId, { ...several, connectedAccountId })).accessToken, tokens[n]);
    }
    // Who does not know of several has the first.
    assert.equal((await token(slug, userId)).accessToken, tokens[0]);
    const { data } = await workos.pipes.listUserDataProviders({ userId, ...several });
    assert.deepEqual(data.find((row) => row.slug === slug && row.connectedAccounts?.length).connectedAccounts.map((each) => each.id).sort(), [...ids].sort());
    await workos.pipes.deleteUserConnectedAccount({ userId, slug, ...several, connectedAccountId: ids[0] });
    await noToken(slug, userId, "not_installed");
    assert.equal((await token(slug, userId, several)).accessToken, tokens[1]);
  });
});

describe("what the contract has no call for", () => {
  test("a disconnect that says so ends the tokens at the provider, and tells what came of it", async () => {
    const user = newUser();
    const id = await connected(user);
    const { accessToken } = await token(slug, user);
    assert.equal(await whoami(accessToken), "alice");
    assert.equal((await call("DELETE", `/user_management/users/${user}/connected_accounts/${slug}?revoke_at_provider=true`)).status, 204);
    await eventually(async () => {
      const { body } = await call("GET", `/culvert/v1/revocations/${id}`);
      assert.deepEqual([body.state, body.connected_account_id], ["revoked", id], JSON.stringify(body));
    });
    assert.equal(await whoami(accessToken), 401);
  });

  test("a token that an API refused is looked into: it works, it is not the present one, or its grant is gone", async () => {
    const report = async (user, access_token) => {
      const { status, body } = await call("POST", `/culvert/v1/data-integrations/${slug}/token-refused`, { user_id: user, access_token });
      assert.equal(status, 200, JSON.stringify(body));
      return body.outcome;
    };
    const calm = newUser();
    await connected(calm);
    assert.equal(await report(calm, plaintext()), "newer_token");
    assert.equal(await report(calm, (await token(slug, calm)).accessToken), "still_works");

    // This provider ends the grant with its token.
    const user = newUser();
    await connected(user);
    const { accessToken } = await token(slug, user);
    const revoked = await fetch(`${provider.origin}/token/revocation`, {
      method: "POST",
      body: new URLSearchParams({ token: accessToken, client_id: credentials.clientId, client_secret: credentials.clientSecret }),
    });
    assert.equal(revoked.status, 200);
    assert.equal(await whoami(accessToken), 401);
    await noToken(slug, user, await report(user, accessToken));
    assert.equal((await account(slug, user)).state, "needs_reauthorization");
  });

  test("with session binding nothing is connected before the session has said so", async () => {
    const user = newUser();
    const verifier = randomBytes(32).toString("base64url");
    const begun = await call("POST", `/data-integrations/${slug}/authorize`, {
      user_id: user, return_to: returnTo, code_challenge: createHash("sha256").update(verifier).digest("base64url"), code_challenge_method: "S256",
    });
    assert.equal(begun.status, 200, JSON.stringify(begun.body));
    const browser = newBrowser();
    const landed = arrived(await alice(browser, await browser.open(begun.body.url)));
    assert.deepEqual([...landed.keys()], ["from", "status", "result_id"]);
    assert.equal(landed.get("status"), "finish_required");
    await noToken(slug, user, "not_installed");
    const finish = (code_verifier) => call("POST", "/culvert/v1/authorizations/finish", { result_id: landed.get("result_id"), code_verifier });
    const refusal = await finish(randomBytes(32).toString("base64url"));
    assert.deepEqual([refusal.status, refusal.body.code], [422, "code_verifier_mismatch"]);
    await noToken(slug, user, "not_installed");
    const finished = await finish(verifier);
    assert.deepEqual([finished.status, finished.body.state], [200, "connected"]);
    assert.equal((await account(slug, user)).id, finished.body.id);
    assert.equal(await whoami((await token(slug, user)).accessToken), "alice");
  });
});

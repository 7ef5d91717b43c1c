import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import {
  Provider, account, arrived, assertPage, authorize, call, connect, depart, ended, events, integrate, newBrowser, newUser, noToken,
  returning, sleep, token, workos,
} from "./culvert.mjs";
import { alice, choose, tester } from "./signin.mjs";

// Access tokens of these providers live for an hour. Where a test waits for an end they live so long, which is
// long enough to be vended and used at once, and for nothing else.
const seconds = 3;

// What each provider's API says of the user whose token it is given.
const api = (method, path, read, body) => async (origin, value) => {
  const headers = { authorization: `Bearer ${value}`, "content-type": "application/json" };
  const response = await fetch(origin + path, { method, headers, body: body && JSON.stringify(body) });
  return response.ok ? read(await response.json()) : response.status;
};
const viewer = { query: "{ viewer { email } }" };

// Providers that keep to the standards are given as definitions of one's own.
const standard = (name, { is, signIn, authorize: authorizePath, token: tokenPath, userinfo, auth, ...rest }) => {
  const { origin } = new Provider(name);
  return {
    name, is, signIn, refreshes: true, rotates: true, whoami: api("GET", userinfo, (claims) => claims.email),
    scopes: ["openid", "email", "offline_access"],
    options: {
      customProvider: {
        name, authorizationUrl: origin + authorizePath, tokenUrl: origin + tokenPath,
        // Without it some of them give no refresh token.
        additionalAuthorizationParameters: { prompt: "consent" },
        ...{
          client_secret_basic: { authenticateVia: "basic_auth_header" },
          client_secret_post: { authenticateVia: "request_body" },
          none: { clientSecretRequired: false },
        }[auth],
      },
    },
    auth, ...rest,
  };
};
const certified = (auth) => standard(`oidc-${auth.split("_").at(-1)}`, { is: "alice@example.com", signIn: alice, authorize: "/auth", token: "/token", userinfo: "/me", auth });

// A provider that takes no authorization request by way of a browser.
const pushing = (name, path) => {
  const { options: { customProvider }, ...made } = certified("client_secret_basic");
  const { origin } = new Provider(name);
  return {
    ...made, name, pushed: origin + path,
    options: { customProvider: { ...customProvider, name, authorizationUrl: `${origin}/auth`, tokenUrl: `${origin}/token` } },
  };
};

const table = [
  { name: "github", signIn: choose("octocat"), whoami: api("GET", "/user", (user) => user.login), is: "octocat", scopes: ["read:user", "user:email"], other: choose("hubot") },
  { name: "google", signIn: choose("ada@example.com"), whoami: api("GET", "/oauth2/v2/userinfo", (user) => user.email), is: "ada@example.com", refreshes: true },
  { name: "slack", signIn: choose("ada@example.com"), whoami: api("POST", "/api/auth.test", (who) => who.ok && who.team), is: "Acme", scopes: ["channels:read", "user:users:read"], names: ["bot", "user"] },
  { name: "microsoft", signIn: choose("ada@example.com"), whoami: api("GET", "/v1.0/me", (user) => user.mail), is: "ada@example.com", refreshes: true, rotates: true },
  { name: "linear", signIn: choose("ada@example.com"), whoami: api("POST", "/graphql", (reply) => reply.data.viewer.email, viewer), is: "ada@example.com", refreshes: true, rotates: true, scopes: ["read", "write"] },
  certified("client_secret_basic"),
  certified("client_secret_post"),
  certified("none"),
  pushing("oidc-pushed", "/request"),
  standard("zitadel", { is: "test-user@zitadel.ch", signIn: tester, authorize: "/auth", token: "/oauth/token", userinfo: "/userinfo", auth: "client_secret_basic" }),
];

// Most of their time is spent waiting for tokens to end, so they wait side by side.
describe("every provider passes", { concurrency: true }, () => table.forEach(suite));

// other signs in as another user at the provider; names are those of its tokens, the first of which is vended
// without one. refreshes: its tokens end, and there are refresh tokens; rotates: each of which is good once.
function suite({ name, signIn, whoami, is, scopes, refreshes, rotates, auth, options, other, names, pushed }) {
  describe(name, { concurrency: 1 }, () => {
    const provider = new Provider(name);
    const user = newUser();
    let integration, credentials, id;

    before(async () => {
      ({ integration, credentials } = await integrate(provider, { provider: name, scopes, ...options }, auth));
      if (pushed) {
        // The SDK does not know this member.
        const { status } = await call("PUT", `/data-integrations/${name}`, { custom_provider: { pushed_authorization_request_url: pushed } });
        assert.equal(status, 200);
      }
    });

    // A client that the provider refuses: a public one has no secret that could be wrong.
    const mistaken = () => workos.pipes.updateDataIntegration({
      slug: name, credentials: auth === "none" ? { ...credentials, clientId: "another" } : { ...credentials, clientSecret: "e2e-plaintext-another" },
    });
    const corrected = () => workos.pipes.updateDataIntegration({ slug: name, credentials });

    test("a user connects an account and the application gets a token that works", async () => {
      await noToken(name, user, "not_installed");
      id = await connect({ provider, user, signIn });
      const vended = await token(name, user);
      assert.equal(await whoami(provider.origin, vended.accessToken), is);
      assert.deepEqual(vended.missingScopes, []);
      if (scopes) {
        assert.deepEqual([...vended.scopes].sort(), [...scopes].sort());
      }
      assert.equal(vended.expiresAt === null, !refreshes);

      const stored = await account(name, user);
      assert.equal(stored.id, id);
      assert.equal(stored.state, "connected");
      assert.equal(stored.userId, user);
      assert.ok(stored.accountIdentifier, "nobody knows whose the account is");
      // A definition of one's own does not say where the provider tells people's names.
      assert.equal(stored.accountDisplayName, options ? null : is);
      assert.deepEqual([...stored.scopes].sort(), [...vended.scopes].sort());
      const connected = await events("connected_account.connected", user);
      assert.deepEqual(connected.map((data) => data.id), [id]);
    });

    test("the credentials call gives the same token, and both answers are kept by nobody", async () => {
      const path = `/data-integrations/${name}`;
      const vended = await call("POST", `${path}/token`, { user_id: user });
      const credential = await call("POST", `${path}/credentials`, { user_id: user });
      assert.equal(vended.headers.get("cache-control"), "no-store");
      assert.equal(credential.headers.get("cache-control"), "no-store");
      assert.equal(await whoami(provider.origin, credential.body.credential.value), is);
      assert.equal(credential.body.credential.auth_method, "oauth");
    });

    test("the providers of a user show the account", async () => {
      const { data } = await workos.pipes.listUserDataProviders({ userId: user });
      const own = data.find((row) => row.slug === name);
      assert.equal(own.id, integration.id);
      assert.equal(own.connectedAccount.id, id);
      const { data: others } = await workos.pipes.listUserDataProviders({ userId: newUser() });
      assert.equal(others.find((row) => row.slug === name).connectedAccount, null);
    });

    test("a code that the provider does not know connects nobody, and harms no account there is", async () => {
      for (const [who, state] of [[newUser(), "not_installed"], [user, "connected"]]) {
        const browser = newBrowser();
        const callback = await returning({ provider, user: who, browser, integration, signIn });
        const forged = new URL(callback);
        forged.searchParams.set("code", "0".repeat(40));
        const landed = arrived(await browser.open(forged.href));
        assert.deepEqual([...landed.keys()], ["from", "error"]);
        // The true code comes too late: a callback that follows is answered with the first one's result.
        assert.equal(arrived(await browser.open(callback.href)).get("error"), landed.get("error"));

        const [failed] = await events("connected_account.connection_failed", who);
        assert.equal(failed.errorCode ?? failed.error_code, landed.get("error"));
        assert.match(failed.providerError ?? failed.provider_error, /^(bad_verification_code|invalid_code|invalid_grant)$/);
        if (state === "connected") {
          assert.equal((await account(name, who)).state, "connected");
          assert.equal(await whoami(provider.origin, (await token(name, who)).accessToken), is);
        } else {
          await noToken(name, who, state);
          await assert.rejects(account(name, who), { status: 404 });
        }
      }
    });

    test("a client that the provider refuses connects nobody and blames no account", async () => {
      await mistaken();
      const browser = newBrowser();
      const stranger = newUser();
      const page = await depart(browser, await authorize(provider, name, stranger));
      if (auth === "none") {
        // The provider knows before anybody has signed in, and sends nobody to an address of a stranger.
        assert.ok(page.url.startsWith(provider.origin) && page.status >= 400, `${page.status} ${page.url}`);
      } else if (pushed) {
        // The provider was asked before the browser goes there.
        assert.equal(arrived(page).get("error"), "provider_error");
      } else {
        assert.ok(arrived(await signIn(browser, page)).get("error"));
      }
      await noToken(name, stranger, "not_installed");
      assert.equal((await account(name, user)).state, "connected");

      await corrected();
      await connect({ provider, user: stranger, signIn });
      assert.equal(await whoami(provider.origin, (await token(name, stranger)).accessToken), is);
    });

    if (refreshes) {
      test("after its end a token is another one, which works, and so on", async () => {
        await provider.ask("lifetime", { seconds });
        assert.equal(await connect({ provider, user, signIn }), id);
        // Whoever asks for a token shortly before its end has it refreshed behind him, when nobody counts.
        await ended(await token(name, user));
        let last = await token(name, user);
        for (let n = 0; n < 2; n++) {
          await ended(last);
          const count = await provider.refreshes();
          const next = await token(name, user);
          assert.notEqual(next.accessToken, last.accessToken);
          assert.ok(new Date(next.expiresAt) > new Date(last.expiresAt));
          assert.equal(await whoami(provider.origin, next.accessToken), is);
          assert.equal(await provider.refreshes(), count + 1);
          last = next;
        }
        assert.equal((await account(name, user)).state, "connected");
        const refreshed = await events("grant.refreshed", user);
        assert.ok(refreshed.length >= 2);
        assert.deepEqual(new Set(refreshed.map((data) => data.connectedAccountId ?? data.connected_account_id)), new Set([id]));
      });

      test("a client that the provider refuses refreshes nothing and blames no account", async () => {
        await ended(await token(name, user));
        await mistaken();
        const refusal = await call("POST", `/data-integrations/${name}/token`, { user_id: user });
        assert.deepEqual([refusal.status, refusal.body.code], [503, "client_rejected"]);
        assert.equal((await account(name, user)).state, "connected");
        await corrected();
        assert.equal(await whoami(provider.origin, (await token(name, user)).accessToken), is);
        assert.deepEqual(await events("connected_account.reauthorization_needed", user), []);
      });

      test("a refresh token that is used up or revoked makes the account ask for its user again", async () => {
        const last = await token(name, user);
        await ended(last);
        await (rotates ? provider.ask("burn") : provider.ask("revoke", { path: "/oauth2/revoke" }));
        await noToken(name, user, "needs_reauthorization");
        await noToken(name, user, "needs_reauthorization");
        assert.equal((await account(name, user)).state, "needs_reauthorization");
        const asked = await events("connected_account.reauthorization_needed", user);
        assert.deepEqual(asked.map((data) => [data.id, data.state]), [[id, "needs_reauthorization"]]);

        assert.equal(await connect({ provider, user, signIn }), id, "connecting again is the same account");
        assert.equal((await account(name, user)).state, "connected");
        assert.equal(await whoami(provider.origin, (await token(name, user)).accessToken), is);
      });
    }

    if (names) {
      test("each of its tokens is vended by its name", async () => {
        const vend = (token_name) => call("POST", `/data-integrations/${name}/token`, { user_id: user, token_name });
        const values = [];
        for (const each of [undefined, ...names]) {
          const { body } = await vend(each);
          values.push(body.access_token.access_token);
        }
        assert.equal(values[0], values[1]);
        assert.equal(new Set(values).size, names.length);
        const unknown = await vend("another");
        assert.equal(unknown.status, 422);
        assert.ok(JSON.stringify(unknown.body).includes(names.join(", ")), JSON.stringify(unknown.body));
      });
    }

    if (!refreshes) {
      test("a token without an end is asked for once", async () => {
        await sleep(1000 * seconds);
        assert.equal(await whoami(provider.origin, (await token(name, user)).accessToken), is);
        assert.equal(await provider.refreshes(), 0);
      });
    }

    if (rotates) {
      test("tokens from elsewhere can be brought along, and are refreshed as any", async () => {
        const other = newUser();
        const { access_token: accessToken, refresh_token: refreshToken } = await provider.ask("burn");
        await workos.pipes.createUserConnectedAccount({ slug: name, userId: other, accessToken, refreshToken, expiresAt: new Date(Date.now() - 1000) });
        const vended = await token(name, other);
        assert.notEqual(vended.accessToken, accessToken);
        assert.equal(await whoami(provider.origin, vended.accessToken), is);
      });
    }

    if (other) {
      test("who signs in as another account is asked, and nothing changes before he says so", async () => {
        const before = await account(name, user);
        const asked = async (browser) => {
          const page = await other(browser, await depart(browser, await authorize(provider, name, user)));
          assertPage(page, 200);
          assert.ok(page.html.includes(is) && page.html.includes("hubot"), page.html);
          assert.deepEqual(await account(name, user), before);
          return page;
        };
        let browser = newBrowser();
        const kept = arrived(await browser.submit(await asked(browser)));
        assert.equal(kept.get("error"), "account_mismatch");
        assert.deepEqual(await account(name, user), before);

        browser = newBrowser();
        const replaced = arrived(await browser.submit(await asked(browser), { fields: { choice: "replace" } }));
        assert.equal(replaced.get("connected_account_id"), id);
        assert.equal((await account(name, user)).accountDisplayName, "hubot");
        assert.equal(await whoami(provider.origin, (await token(name, user)).accessToken), "hubot");
      });
    }

    test("after its removal there is no account and no token", async () => {
      await workos.pipes.deleteUserConnectedAccount({ userId: user, slug: name });
      await noToken(name, user, "not_installed");
      await assert.rejects(account(name, user), { status: 404 });
      const gone = await events("connected_account.disconnected", user);
      assert.deepEqual(gone.map((data) => data.id), [id]);
    });
  });
}

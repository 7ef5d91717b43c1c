import assert from "node:assert/strict";
import { before, describe, test } from "node:test";
import {
  Provider, account, arrived, assertPage, authorize, base, call, connect, depart, ended, eventually, events, integrate,
  newBrowser, newUser, noToken, returnTo, returning, sleep, token, workos,
} from "./culvert.mjs";
import { alice, deny, login } from "./signin.mjs";

const provider = new Provider("oidc");
const slug = "acme-id";
const seconds = 4;

const definition = {
  name: "Acme ID", pkceEnabled: true, requestScopeSeparator: " ", clientSecretRequired: true, authenticateVia: "request_body",
  authorizationUrl: `${provider.origin}/auth`, tokenUrl: `${provider.origin}/token`,
  // Without it this provider gives no refresh token.
  additionalAuthorizationParameters: { prompt: "consent" },
};

async function whoami(value) {
  const response = await fetch(`${provider.origin}/me`, { headers: { authorization: `Bearer ${value}` } });
  return response.ok ? (await response.json()).sub : response.status;
}

const connected = (user, options) => connect({ provider, slug, user, signIn: alice, ...options });

let integration;
before(async () => {
  ({ integration } = await integrate(provider, {
    provider: slug, scopes: ["openid", "email", "offline_access"], customProvider: definition,
  }));
  await provider.ask("lifetime", { seconds });
});

// That it refreshes and dies as every provider does is in conformance.test.mjs.
describe("a provider that keeps to the standards", () => {
  test("the confirmation page tells whom it is for, and nothing secret stands in a URL afterwards", async () => {
    const user = newUser();
    const browser = newBrowser();
    const { body: { url } } = await call("POST", `/data-integrations/${slug}/authorize`, {
      user_id: user, user_label: "Al <al@example.com>", organization_id: "org_1", return_to: returnTo,
    });
    const page = await browser.open(url);
    assertPage(page, 200);
    for (const shown of ["Acme ID", user, "Al &lt;al@example.com&gt;", "org_1", "environment_", provider.origin, new URL(returnTo).origin, "offline_access"]) {
      assert.ok(page.html.includes(shown), `${shown} is not on the page:\n${page.html}`);
    }
    const end = await alice(browser, await browser.submit(page));
    assert.equal(arrived(end).get("status"), "connected");
    const toProvider = new URL(browser.visited.find((visited) => visited.startsWith(definition.authorizationUrl)));
    assert.equal(toProvider.searchParams.get("redirect_uri"), integration.redirectUri);
    assert.equal(toProvider.searchParams.get("code_challenge_method"), "S256");
    const callback = browser.visited.findIndex((visited) => visited.startsWith(integration.redirectUri));
    const code = new URL(browser.visited[callback]).searchParams.get("code");
    for (const later of browser.visited.slice(callback + 1)) {
      assert.ok(!later.includes(code) && !later.includes(toProvider.searchParams.get("state")), later);
    }
  });

  test("without return_to the flow ends on a page, whose URL holds nothing", async () => {
    const browser = newBrowser();
    const url = await authorize(provider, slug, newUser(), { returnTo: undefined });
    const end = await alice(browser, await depart(browser, url));
    assertPage(end, 200);
    assert.match(end.html, /Acme ID/);
    assert.equal(end.url, integration.redirectUri);
  });

  test("a hundred requests at the end of a token are one refresh and one answer", async () => {
    const user = newUser();
    await connected(user);
    await ended(await token(slug, user));
    const before = await provider.refreshes();
    await provider.ask("slow", { milliseconds: 400 });
    const all = await Promise.all(Array.from({ length: 100 }, () => token(slug, user)));
    await provider.ask("slow", { milliseconds: 0 });
    assert.equal(new Set(all.map((vended) => vended.accessToken)).size, 1);
    assert.equal(await provider.refreshes(), before + 1);
    assert.equal(await whoami(all[0].accessToken), "alice");
  });

  test("while the provider is down the living token is given, then a clear error, then all is well again", async () => {
    const user = newUser();
    const path = `/data-integrations/${slug}/token`;
    await provider.ask("lifetime", { seconds: 2 * seconds });
    await connected(user);
    const living = await token(slug, user);
    await provider.ask("lifetime", { seconds });
    await provider.ask("down");
    try {
      // In the last fifth of its life a token is to be refreshed behind whoever asks for it.
      await sleep(new Date(living.expiresAt) - Date.now() - seconds * 200);
      assert.equal((await token(slug, user)).accessToken, living.accessToken);
      await ended(living);
      const refusal = await call("POST", path, { user_id: user });
      assert.equal(refusal.status, 503);
      assert.equal(refusal.body.code, "provider_unavailable");
      assert.ok(Number(refusal.headers.get("retry-after")) >= 1);
      assert.equal((await account(slug, user)).state, "connected");
    } finally {
      await provider.ask("up");
    }
    await eventually(async () => assert.equal((await call("POST", path, { user_id: user })).status, 200));
    assert.equal(await whoami((await token(slug, user)).accessToken), "alice");
    assert.deepEqual(await events("connected_account.reauthorization_needed", user), []);
  });
});

// The provider has its response posted by a form of its own page. That is another site's, so what comes has no cookie
// of ours, and is posted once more from a page of ours, as its script would.
describe("a provider that posts its response", () => {
  test("connects an account, and no URL holds a code", async () => {
    const posting = new Provider("oidc-form");
    const { integration: { redirectUri } } = await integrate(posting, {
      provider: posting.name, scopes: ["openid", "email", "offline_access"],
      customProvider: {
        ...definition, authorizationUrl: `${posting.origin}/auth`, tokenUrl: `${posting.origin}/token`,
        additionalAuthorizationParameters: { prompt: "consent", response_mode: "form_post" },
      },
    });
    const browser = newBrowser();
    const user = newUser();
    await connect({
      provider: posting, user, browser, signIn: async (_, page) => {
        const again = await browser.submit(await alice(browser, page));
        assert.equal(again.status, 200);
        assert.equal(again.url, redirectUri);
        assert.match(again.headers.get("content-security-policy"), /^default-src 'none'; .*; script-src 'sha256-[^;]*; form-action /);
        return browser.submit(again);
      },
    });
    assert.ok(browser.visited.every((url) => !url.includes("code=")), browser.visited);
    const vended = await token(posting.name, user);
    assert.ok((await fetch(`${posting.origin}/me`, { headers: { authorization: `Bearer ${vended.accessToken}` } })).ok);
  });
});

describe("what goes wrong on the way", () => {
  test("whoever says no at the provider is back at the application, and the link is used up", async () => {
    const user = newUser();
    const browser = newBrowser();
    const url = await authorize(provider, slug, user);
    const landed = arrived(await deny(browser, await login(browser, await depart(browser, url))));
    assert.deepEqual([...landed], [["from", "settings"], ["error", "access_denied"]]);
    await noToken(slug, user, "not_installed");
    const [failed] = await events("connected_account.connection_failed", user);
    assert.equal(failed.providerError ?? failed.provider_error, "access_denied");
    assertPage(await browser.open(url), 410);
    await connected(user);
  });

  test("whoever cancels on our page has not been at the provider", async () => {
    const user = newUser();
    const browser = newBrowser();
    const page = await browser.open(await authorize(provider, slug, user));
    const landed = arrived(await browser.submit(page, { formaction: "cancel" }));
    assert.ok(landed.get("error"));
    assert.ok(!browser.visited.some((url) => url.startsWith(provider.origin)));
    await noToken(slug, user, "not_installed");
  });

  test("a callback in another browser links nothing; in the right one it does, once, and says so twice", async () => {
    const user = newUser();
    const victim = newBrowser();
    const mine = newBrowser();
    const callback = await returning({ provider, slug, user, browser: mine, integration, signIn: alice });

    assertPage(await victim.open(callback.href), 403);
    // Also with a cookie of its own.
    await victim.open(await authorize(provider, slug, newUser()));
    assertPage(await victim.open(callback.href), 403);
    await noToken(slug, user, "not_installed");

    const landed = arrived(await mine.open(callback.href));
    assert.equal(landed.get("status"), "connected");
    assert.equal((await account(slug, user)).id, landed.get("connected_account_id"));
    assert.deepEqual([...arrived(await mine.open(callback.href))], [...landed]);
    assert.equal((await events("connected_account.connected", user)).length, 1);
  });

  test("a form that another site sends does not leave for the provider; the page's own does", async () => {
    const browser = newBrowser();
    const url = await authorize(provider, slug, newUser());
    const page = await browser.open(url);
    const elsewhere = { ...page, url: "http://localhost:9/", headers: new Headers(), forms: [{ ...page.forms[0], action: url }] };
    assertPage(await browser.submit(elsewhere), 403);
    // In a browser that has not seen the page, even with what stands in its form.
    assertPage(await newBrowser().submit(page), 403);
    assert.match((await browser.submit(page)).url, new RegExp(`^${provider.origin}/`));
  });

  test("used, forged, foreign and broken links are readable pages", async () => {
    const user = newUser();
    const browser = newBrowser();
    const url = await authorize(provider, slug, user);
    const callback = await returning({ provider, slug, user: newUser(), browser, integration, signIn: alice });
    const at = (edit) => {
      const edited = new URL(callback);
      edit(edited.searchParams, edited);
      return edited.href;
    };
    const state = callback.searchParams.get("state");
    const broken = {
      "ticket with another secret": url.replace(/[^-]{43}(?=\/authorize)/, "0".repeat(43)),
      "ticket cut short": url.replace(/.(?=\/authorize)/, ""),
      "no ticket at all": `${base}/data-integrations/x/authorize-redirect`,
      "state with another secret": at((query) => query.set("state", state.slice(0, -43) + "0".repeat(43))),
      "state of another departure": at((query) => query.set("state", state.replace(/-(\d)-/, "-5-"))),
      "no state": at((query) => query.delete("state")),
      "two states": at((query) => query.append("state", state)),
      "the state of another integration": at((_, u) => { u.pathname = u.pathname.replace(/dik_[^/]+/, "dik_01JQ0000000000000000000000"); }),
      "a state that is not text": at((query) => query.set("state", "%00\u0000\ud83d")),
      "nothing": integration.redirectUri,
    };
    for (const [what, link] of Object.entries(broken)) {
      const page = await browser.open(link);
      assert.ok(page.status >= 400 && page.status < 500, `${what}: ${page.status}`);
      assertPage(page, page.status);
      assert.ok(!page.html.includes(state), `${what}: the page repeats what came`);
    }
    assert.equal(arrived(await browser.open(callback.href)).get("status"), "connected");
  });

  test("return_to off the list is refused at authorize, and on the list it is not", async () => {
    const user = newUser();
    for (const evil of [
      "https://evil.example/", "//evil.example/", "javascript:alert(1)", "http://127.0.0.1@evil.example/", "http://127.0.0.1.evil.example/",
      "http:\\\\127.0.0.1/", "/connected", "http://127.0.0.1:9\u0000/", "ftp://127.0.0.1/", "http://localhost.evil.example/",
    ]) {
      await assert.rejects(authorize(provider, slug, user, { returnTo: evil }), { status: 422 }, evil);
    }
    for (const good of ["http://127.0.0.1:9/x?y=1", "http://localhost:9", "http://[::1]:9/"]) {
      await authorize(provider, slug, user, { returnTo: good });
    }
  });

  test("a provider that insists on PKCE refuses the trip without it, and the user is told", async () => {
    await workos.pipes.updateDataIntegration({ slug, customProvider: { ...definition, pkceEnabled: false } });
    const landed = arrived(await depart(newBrowser(), await authorize(provider, slug, newUser())));
    assert.ok(landed.get("error"));
    await workos.pipes.updateDataIntegration({ slug, customProvider: definition });
    await connected(newUser());
  });

  test("an integration that is not enabled begins nothing and vends nothing until it is", async () => {
    const user = newUser();
    await connected(user);
    await workos.pipes.updateDataIntegration({ slug, enabled: false });
    for (const path of ["authorize", "token"]) {
      const refusal = await call("POST", `/data-integrations/${slug}/${path}`, { user_id: user });
      assert.deepEqual([refusal.status, refusal.body.code], [400, "integration_disabled"]);
    }
    await workos.pipes.updateDataIntegration({ slug, enabled: true });
    assert.equal(await whoami((await token(slug, user)).accessToken), "alice");
  });
});

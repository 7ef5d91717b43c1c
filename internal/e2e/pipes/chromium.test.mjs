import assert from "node:assert/strict";
import { createServer } from "node:http";
import { after, before, describe, test } from "node:test";
import { launch, openTab } from "./chromium.mjs";
import {
  Provider, arrived, authorize, base, call, integrate, newBrowser, newUser, noToken, returning, token,
} from "./culvert.mjs";
import { alice } from "./signin.mjs";

const provider = new Provider("oidc");
const slug = "acme-browser";

const phone = { viewport: { width: 360, height: 640 }, hasTouch: true, isMobile: true, deviceScaleFactor: 2 };
const desk = { viewport: { width: 1280, height: 800 } };

let integration, application, home;

before(async () => {
  ({ integration } = await integrate(provider, {
    provider: slug, scopes: ["openid", "email", "offline_access"],
    customProvider: {
      name: "Acme ID", authorizationUrl: `${provider.origin}/auth`, tokenUrl: `${provider.origin}/token`,
      additionalAuthorizationParameters: { prompt: "consent" },
    },
  }));
  application = createServer((_, response) => response.writeHead(200, { "content-type": "text/html" }).end("<title>app</title><link rel=icon href=data:,>"));
  await new Promise((resolve) => application.listen(0, "127.0.0.1", resolve));
  home = `http://127.0.0.1:${application.address().port}/done`;
});
after(() => application.close());

for (const [device, options] of Object.entries({ phone, desk })) {
  describe(`Chromium on a ${device}`, () => {
    let browser;
    before(async () => { browser = await launch(options); });
    after(() => browser.close());

    test("the whole way, from the application's link back to the application", async () => {
      const user = newUser();
      const organizationId = `org_with_a_name_that_does_not_end_${"x".repeat(60)}`;
      const { page, complaints, hosts } = await openTab(browser.context);
      await page.goto(await authorize(provider, slug, user, { returnTo: home, organizationId }));
      await assertFits(page);
      await assertReadable(page, [user, organizationId, "Acme ID"]);
      if (process.env.CULVERT_E2E_SCREENSHOTS) {
        await page.screenshot({ path: `${process.env.CULVERT_E2E_SCREENSHOTS}/confirmation-${device}.png`, fullPage: true });
      }
      assert.deepEqual([...hosts], [new URL(base).host], "the page loads nothing from elsewhere");
      assert.deepEqual(complaints, []);

      // Without the tick the browser itself holds the form back.
      await page.getByRole("button", { name: "Continue to Acme ID" }).click();
      assert.equal(new URL(page.url()).host, new URL(base).host);
      // By the keyboard: the box is what comes first.
      await page.keyboard.press("Space");
      assert.ok(await page.getByRole("checkbox").isChecked());
      await page.getByRole("button", { name: "Continue to Acme ID" }).click();
      await signIn(page);
      await page.waitForURL(`${home}?*`);
      const landed = new URL(page.url()).searchParams;
      assert.equal(landed.get("status"), "connected", page.url());
      await token(slug, user, { organizationId });
      assert.deepEqual(ours(complaints), []);
    });

    test("without return_to it ends on a page of ours, which the back button and a reload leave as it is", async () => {
      const { page, complaints } = await openTab(browser.context);
      await page.goto(await authorize(provider, slug, newUser(), { returnTo: undefined }));
      await page.getByRole("checkbox").check();
      await page.getByRole("button", { name: "Continue to Acme ID" }).click();
      await signIn(page);
      await page.waitForURL(integration.redirectUri);
      await assertFits(page);
      const said = await page.locator("main").innerText();
      assert.match(said, /connected/i);
      await page.reload();
      assert.equal(await page.locator("main").innerText(), said);
      assert.deepEqual(ours(complaints), []);
    });

    test("cancel leads back to the application", async () => {
      const user = newUser();
      const { page, complaints } = await openTab(browser.context);
      await page.goto(await authorize(provider, slug, user, { returnTo: home }));
      await page.getByRole("button", { name: "Cancel" }).click();
      await page.waitForURL(`${home}?*`);
      assert.ok(new URL(page.url()).searchParams.get("error"), page.url());
      await noToken(slug, user, "not_installed");
      assert.deepEqual(complaints, []);
    });

    test("a link that is no good is a page that can be read", async () => {
      const { page, complaints } = await openTab(browser.context);
      const response = await page.goto(`${base}/data-integrations/x/authorize-redirect`);
      assert.ok(response.status() >= 400 && response.status() < 500);
      await assertFits(page);
      // Chromium itself reports the status of a page as an error.
      assert.deepEqual(complaints.filter((c) => !c.includes("the server responded with a status of 4")), []);
    });
  });
}

test("Chromium cannot end what another browser began, and that browser can", async () => {
  const browser = await launch(desk);
  try {
    const user = newUser();
    const mine = newBrowser();
    const callback = await returning({ provider, slug, user, browser: mine, integration, signIn: alice });
    const { page } = await openTab(browser.context);
    // With a cookie of its own, from a page of the same server.
    await page.goto(await authorize(provider, slug, newUser()));
    const response = await page.goto(callback.href);
    assert.equal(response.status(), 403);
    await assertFits(page);
    await noToken(slug, user, "not_installed");

    assert.equal(arrived(await mine.open(callback.href)).get("status"), "connected");
    await token(slug, user);
  } finally {
    await browser.close();
  }
});

describe("a pop-up", () => {
  let browser;
  before(async () => {
    browser = await launch(desk);
    // A site that is no application's: it is not on loopback, and on no list.
    await browser.context.route("http://evil.example/**", (route) => route.fulfill({ contentType: "text/html", body: "<title>evil</title>" }));
  });
  after(() => browser.close());

  test("is handed over by the application's page, connects, and closes itself", async () => {
    const user = newUser();
    const { page, popup, complaints } = await open(browser.context, home, await handoff(user));
    const closed = popup.waitForEvent("close");
    await signIn(popup);
    await closed;
    assert.deepEqual(await page.evaluate(() => window.acknowledged), [base]);
    await token(slug, user);
    assert.deepEqual(ours(complaints), []);
  });

  test("of another site goes nowhere, though that has both tokens, which work once where they belong", async () => {
    const user = newUser();
    const flow = await handoff(user);
    const { page, popup, hosts } = await open(browser.context, "http://evil.example/", flow);
    await popup.getByText("Start again from your application.").waitFor({ timeout: 30_000 });
    assert.equal(popup.url(), flow.url);
    assert.ok(!hosts.has(new URL(provider.origin).host), "the pop-up was led to the provider");
    assert.deepEqual(await page.evaluate(() => window.acknowledged), []);
    await noToken(slug, user, "not_installed");
    await popup.close();

    const right = await open(browser.context, home, flow);
    await right.popup.waitForURL(`${provider.origin}/**`);
    await right.popup.close();
    const again = await open(browser.context, home, flow);
    await again.popup.getByText("Start again from your application.").waitFor({ timeout: 30_000 });
    assert.deepEqual(await again.page.evaluate(() => window.acknowledged), []);
  });

  test("that nobody opened says so, and keeps its URL to itself", async () => {
    const { page, complaints, hosts } = await openTab(browser.context);
    await page.goto((await handoff(newUser())).url);
    await page.getByText("Start again from your application.").waitFor();
    await assertFits(page);
    assert.deepEqual([...hosts], [new URL(base).host]);
    assert.deepEqual(complaints, []);
  });

  test("shows what went wrong, and stays", async () => {
    const user = newUser();
    const { popup } = await open(browser.context, home, await handoff(user));
    await popup.waitForURL(`${provider.origin}/**`);
    await popup.getByText(/cancel/i).first().click();
    await popup.waitForURL(integration.redirectUri);
    assert.match(await popup.locator("main").innerText(), /was not connected/);
    await noToken(slug, user, "not_installed");
  });
});

// Begins a flow that a pop-up is handed.
async function handoff(user) {
  const { status, body } = await call("POST", `/data-integrations/${slug}/authorize`, { user_id: user, require_handoff: true });
  assert.equal(status, 200, JSON.stringify(body));
  await provider.ask("remember", { secrets: [body.handoff_token, body.redirect_token.split("-").at(-1)] });
  return { url: body.url, tokens: { redirectToken: body.redirect_token, handoffToken: body.handoff_token } };
}

// Opens a page at a URL, which opens a pop-up and posts it the tokens, as the widget does.
async function open(context, at, flow) {
  const { page, complaints, hosts } = await openTab(context);
  await page.goto(at);
  const opened = page.waitForEvent("popup");
  await page.evaluate(({ base, flow }) => {
    const popup = window.open(`${base}/pipes/redirecting`, "_blank");
    window.acknowledged = [];
    let left = 99;
    const timer = setInterval(() => {
      if (popup.closed || left-- === 0) {
        clearInterval(timer);
        return;
      }
      popup.postMessage(flow.tokens, new URL(flow.url).origin);
    }, 100);
    addEventListener("message", ({ origin, data }) => {
      if (origin === new URL(flow.url).origin && data.redirectToken === flow.tokens.redirectToken) {
        clearInterval(timer);
        window.acknowledged.push(origin);
      }
    });
    popup.location = flow.url;
  }, { base, flow });
  const popup = await opened;
  popup.on("console", (message) => {
    // Posts to a page that is not there yet, or not any more, reach nobody, and Chromium says so here.
    if (message.type() === "error" && !message.text().includes("postMessage")) {
      complaints.push(`pop-up: ${message.text()}`);
    }
  });
  popup.on("pageerror", (error) => complaints.push(`pop-up: ${error.message}`));
  popup.on("request", (request) => hosts.add(new URL(request.url()).host));
  return { page, popup, complaints, hosts };
}

// Signs in where that has to be done, and consents.
async function signIn(page) {
  await page.waitForURL(`${provider.origin}/**`);
  if (await page.getByPlaceholder(/login/i).count()) {
    await page.getByPlaceholder(/login/i).fill("alice");
    await page.getByPlaceholder(/password/i).fill("any");
    await page.getByRole("button").click();
    await page.waitForURL(`${provider.origin}/interaction/**`);
  }
  await page.getByRole("button", { name: "Continue" }).click();
}

// What the provider's own pages complain about is not our concern.
const ours = (complaints) => complaints.filter((c) => !c.includes(new URL(provider.origin).host));

// Nothing has to be scrolled sideways.
async function assertFits(page) {
  const [content, view] = await page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
  assert.ok(content <= view, `${content} pixels wide in a view of ${view}`);
}

// What has to be read is there, in letters that can be read, and buttons are as large as a finger.
async function assertReadable(page, texts) {
  for (const text of texts) {
    assert.ok((await page.locator("main").innerText()).includes(text), `${text} is not shown`);
  }
  const smallest = await page.evaluate(() => Math.min(...[...document.querySelectorAll("main *")]
    .filter((e) => [...e.childNodes].some((n) => n.nodeType === Node.TEXT_NODE && n.textContent.trim()))
    .map((e) => parseFloat(getComputedStyle(e).fontSize))));
  assert.ok(smallest >= 12, `letters of ${smallest} pixels`);
  for (const button of await page.getByRole("button").all()) {
    const { height } = await button.boundingBox();
    assert.ok(height >= 40, `a button of ${height} pixels`);
  }
}

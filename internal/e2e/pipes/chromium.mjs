// A real browser: Chromium, driven through playwright-core.
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { chromium } from "playwright-core";

const loopback = ["127.0.0.1", "localhost"];

// Starts one with a profile of its own and no way off this machine.
// CULVERT_CHROMIUM names the program.
export async function launch(options = {}) {
  const profile = await mkdtemp(join(tmpdir(), "culvert-e2e-chromium-"));
  const context = await chromium.launchPersistentContext(profile, {
    executablePath: process.env.CULVERT_CHROMIUM,
    args: [
      "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
      "--disable-component-update", "--disable-sync",
    ],
    ...options,
  });
  // A provider's page may want fonts from elsewhere.
  await context.route((url) => !loopback.includes(url.hostname), (route) => route.fulfill({ contentType: "text/css", body: "" }));
  return {
    context,
    async close() {
      await context.close();
      await rm(profile, { recursive: true, force: true, maxRetries: 5 });
    },
  };
}

// Opens a tab and collects what the browser complains about: violations of a policy, errors, requests
// that failed, and every host that was asked for anything.
export async function openTab(context) {
  const page = await context.newPage();
  const complaints = [];
  const hosts = new Set();
  page.on("console", (message) => {
    if (message.type() === "error" || message.type() === "warning") {
      complaints.push(`${message.type()}: ${message.text()}`);
    }
  });
  page.on("pageerror", (error) => complaints.push(`exception: ${error.message}`));
  page.on("requestfailed", (request) => complaints.push(`failed: ${request.url()} ${request.failure().errorText}`));
  page.on("request", (request) => hosts.add(new URL(request.url()).host));
  return { page, complaints, hosts };
}

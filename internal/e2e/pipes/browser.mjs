// As much of a browser as the flow needs: cookies by host, redirects, forms, and the headers by which a
// server tells where a request comes from. No scripts: no page here may need one.
import assert from "node:assert/strict";

const maxRedirects = 20;

export class Browser {
  // The hosts' cookies: Map of host to Map of name to {value, path}. Ports share them, as in browsers.
  #cookies = new Map();
  #stops = [];
  // Every URL visited, in order; for tests of what stands in them.
  visited = [];

  // From now on navigation ends before a URL that begins with one of these: no server is behind it, or
  // the test wants to have it first.
  stopAt(...prefixes) {
    this.#stops = prefixes;
    return this;
  }

  // Opens a URL as if it were typed in.
  open(url) {
    return this.#navigate({ url, method: "GET", site: "none" });
  }

  // Submits a form of a page: the only one, or the one that pick chooses. Fields are typed in, and boxes
  // ticked that have to be; a button with this formaction is pressed instead of the first.
  submit(page, { pick = () => true, fields = {}, formaction } = {}) {
    const forms = page.forms.filter(pick);
    assert.equal(forms.length, 1, `wanted one form, ${page.url} has ${forms.length} of ${page.forms.length}:\n${page.html.slice(0, 2000)}`);
    const [form] = forms;
    const pressed = form.buttons.find((b) => b.action === formaction);
    assert.ok(pressed, `no such button on ${page.url}`);
    const data = new URLSearchParams({ ...form.fields, ...(pressed.name && { [pressed.name]: pressed.value }), ...fields });
    const url = new URL(pressed.action ?? form.action, page.url);
    const site = sameSite(page.url, url.href);
    if (form.method === "get") {
      url.search = data.toString();
      return this.#navigate({ url: url.href, method: "GET", site });
    }
    // Fetch section 3.2: a page that sends no referrer sends no origin either.
    const hidden = page.headers.get("referrer-policy") === "no-referrer";
    const origin = hidden ? "null" : new URL(page.url).origin;
    return this.#navigate({ url: url.href, method: "POST", body: data.toString(), site, origin });
  }

  // Follows a link of a page.
  follow(page, href) {
    const url = new URL(href, page.url).href;
    return this.#navigate({ url, method: "GET", site: sameSite(page.url, url), referrer: page.url });
  }

  cookie(url, name) {
    return this.#cookies.get(new URL(url).hostname)?.get(name)?.value;
  }

  async #navigate({ url, method, body, site, origin }) {
    for (let n = 0; n < maxRedirects; n++) {
      this.visited.push(url);
      if (this.#stops.some((stop) => url.startsWith(stop))) {
        return { url, status: 0, html: "", forms: [], headers: new Headers(), stopped: true };
      }
      const response = await fetch(url, {
        method, body, redirect: "manual",
        headers: {
          accept: "text/html,*/*;q=0.8",
          "sec-fetch-site": site, "sec-fetch-mode": "navigate", "sec-fetch-dest": "document",
          ...(method === "POST" && { origin, "content-type": "application/x-www-form-urlencoded" }),
          ...this.#sent(url, site, method),
        },
      });
      this.#keep(url, response.headers);
      const location = response.headers.get("location");
      if (response.status < 300 || response.status > 399 || !location) {
        const html = await response.text();
        return { url, status: response.status, headers: response.headers, html, forms: parseForms(html) };
      }
      await response.body?.cancel();
      const next = new URL(location, url).href;
      site = worse(site, sameSite(url, next));
      // A redirect of a POST becomes a GET, but for 307 and 308.
      if (response.status !== 307 && response.status !== 308) {
        [method, body] = ["GET", undefined];
      }
      url = next;
    }
    assert.fail(`more than ${maxRedirects} redirects, at ${url}`);
  }

  // The cookies for a URL. SameSite=Lax cookies go with every GET of the address bar, whoever sent the
  // browser there, but not with a form that another site posts.
  #sent(url, site, method) {
    const { hostname, pathname } = new URL(url);
    const jar = [...(this.#cookies.get(hostname) ?? [])]
      .filter(([, c]) => pathname.startsWith(c.path) && !(method === "POST" && site === "cross-site" && c.lax))
      .map(([name, c]) => `${name}=${c.value}`);
    return jar.length > 0 ? { cookie: jar.join("; ") } : {};
  }

  #keep(url, headers) {
    const { hostname } = new URL(url);
    const jar = this.#cookies.get(hostname) ?? new Map();
    for (const line of headers.getSetCookie()) {
      const [pair, ...attributes] = line.split(";").map((part) => part.trim());
      const name = pair.slice(0, pair.indexOf("="));
      const value = pair.slice(pair.indexOf("=") + 1);
      const attribute = (key) => attributes.find((a) => a.toLowerCase().split("=")[0] === key);
      if (name.startsWith("__Host-")) {
        assert.ok(attribute("secure") && attribute("path") === "Path=/" && !attribute("domain"), `a browser refuses: ${name}`);
      }
      const gone = /=0$|=-/.test(attribute("max-age") ?? "") || new Date(attribute("expires")?.slice(8) ?? Infinity) < new Date();
      if (gone || value === "") {
        jar.delete(name);
      } else {
        jar.set(name, { value, path: attribute("path")?.slice(5) || "/", lax: !/none/i.test(attribute("samesite") ?? "lax") });
      }
    }
    this.#cookies.set(hostname, jar);
  }
}

const rank = ["none", "same-origin", "same-site", "cross-site"];
const worse = (a, b) => (a === "none" ? "none" : rank[Math.max(rank.indexOf(a), rank.indexOf(b))]);

// Loopback names are sites of their own, whatever the port.
function sameSite(from, to) {
  const [a, b] = [new URL(from), new URL(to)];
  if (a.origin === b.origin) {
    return "same-origin";
  }
  return a.hostname === b.hostname ? "same-site" : "cross-site";
}

function parseForms(html) {
  return [...html.matchAll(/<form\b([^>]*)>([\s\S]*?)<\/form>/gi)].map(([, attributes, inner]) => {
    const fields = {};
    for (const [, input] of inner.matchAll(/<input\b([^>]*)>/gi)) {
      const { type = "text", name, value = "" } = parseAttributes(input);
      if (name && type !== "submit" && (type !== "checkbox" || /\b(checked|required)\b/.test(input))) {
        fields[name] = value;
      }
    }
    const buttons = [...inner.matchAll(/<button\b([^>]*)>/gi)].map(([, b]) => {
      const { name, value = "", formaction } = parseAttributes(b);
      return { name, value, action: formaction };
    });
    const { action = "", method = "get" } = parseAttributes(attributes);
    return { action, method: method.toLowerCase(), fields, buttons, html: inner };
  });
}

const entities = { amp: "&", lt: "<", gt: ">", quot: '"', "#39": "'", "#34": '"', "#43": "+", "#x27": "'", "#x2F": "/" };

function parseAttributes(text) {
  const found = {};
  for (const [, name, quoted, single] of text.matchAll(/([a-z-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')/gi)) {
    found[name.toLowerCase()] = (quoted ?? single).replaceAll(/&(#?\w+);/g, (all, entity) => entities[entity] ?? all);
  }
  return found;
}

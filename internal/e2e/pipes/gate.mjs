// The front door of a provider under test: what the program under test and browsers talk to. It counts
// token requests, can be shut, and can make access tokens seem to end sooner than the provider says.
import http from "node:http";

export class Gate {
  // What the token endpoint was asked: {grant, status}.
  log = [];
  // Everything secret that came by, for the harness, which looks for it where it must not be.
  secrets = new Set();
  #tokenPath;
  #backend;
  #server;
  #port = 0;
  #seconds;
  #delay = 0;
  #newest;

  constructor(tokenPath) {
    this.#tokenPath = tokenPath;
  }

  get port() {
    return this.#port;
  }

  // Opens the gate, each time on the same port.
  async up() {
    this.#server = http.createServer((request, response) => {
      this.#pass(request, response).catch(() => response.destroy());
    });
    await new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      this.#server.listen(this.#port, "127.0.0.1", resolve);
    });
    this.#port = this.#server.address().port;
  }

  // Shuts it: connections break, and new ones are refused. What is behind it keeps its state.
  async down() {
    const closed = new Promise((resolve) => this.#server.close(resolve));
    this.#server.closeAllConnections();
    await closed;
  }

  // Sends what comes from now on to this port on loopback.
  leadTo(port) {
    this.#backend = port;
  }

  // From now on access tokens say that they end after so many seconds; undefined leaves them alone.
  shorten(seconds) {
    this.#seconds = seconds;
  }

  // From now on the token endpoint thinks for so many milliseconds before it answers.
  slow(milliseconds) {
    this.#delay = milliseconds;
  }

  // Uses up the refresh token that was in use last, as another copy of it would: whoever sends it
  // next sends a used one. Returns what the provider gave for it.
  burn(client) {
    return this.#post(this.#tokenPath, { grant_type: "refresh_token", refresh_token: this.#newest }, client);
  }

  // Ends that refresh token for good, as its user could.
  revoke(client, path) {
    return this.#post(path, { token: this.#newest }, client);
  }

  async #post(path, fields, { client_id, client_secret, token_endpoint_auth_method: method }) {
    const headers = { "content-type": "application/x-www-form-urlencoded", accept: "application/json" };
    const form = new URLSearchParams(fields);
    if (method === "client_secret_basic") {
      headers.authorization = `Basic ${Buffer.from(`${client_id}:${client_secret}`).toString("base64")}`;
    } else {
      form.set("client_id", client_id);
    }
    if (method === undefined || method === "client_secret_post") {
      form.set("client_secret", client_secret);
    }
    const { status, text } = await this.#forward("POST", path, headers, form.toString());
    if (status !== 200) {
      throw new Error(`the provider refused with ${status}`);
    }
    return text === "" ? {} : JSON.parse(text);
  }

  async #pass(request, response) {
    const sent = await text(request);
    const { status, headers, text: body } = await this.#forward(request.method, request.url, request.headers, sent);
    const { pathname, searchParams } = new URL(request.url, "http://gate");
    this.#remember(searchParams.get("state")?.split("-").at(-1));
    if (request.method !== "POST" || pathname !== this.#tokenPath) {
      response.writeHead(status, headers).end(body);
      return;
    }
    if (this.#delay > 0) {
      await new Promise((resolve) => setTimeout(resolve, this.#delay));
    }
    const form = new URLSearchParams(sent);
    this.log.push({ grant: form.get("grant_type") ?? "authorization_code", status });
    const [, basic = ""] = request.headers.authorization?.match(/^Basic (.*)$/) ?? [];
    this.#remember(form.get("code"), form.get("code_verifier"), form.get("client_secret"), form.get("refresh_token"));
    this.#remember(basic, decodeURIComponent(Buffer.from(basic, "base64").toString()).split(":")[1]);
    const edited = this.#edit(body, form.get("refresh_token"));
    delete headers["content-length"];
    response.writeHead(status, { ...headers, "content-length": Buffer.byteLength(edited) }).end(edited);
  }

  // Remembers the refresh token that is good from now on, and shortens the life of the access token.
  #edit(body, sent) {
    let reply;
    try {
      reply = JSON.parse(body);
    } catch {
      return body;
    }
    if (reply.access_token) {
      this.#newest = reply.refresh_token ?? sent;
    }
    this.#remember(reply.access_token, reply.refresh_token, reply.authed_user?.access_token);
    if (this.#seconds !== undefined && reply.expires_in !== undefined) {
      return JSON.stringify({ ...reply, expires_in: this.#seconds });
    }
    return body;
  }

  #remember(...secrets) {
    for (const secret of secrets) {
      if (secret) {
        this.secrets.add(secret);
      }
    }
  }

  #forward(method, path, headers, body) {
    const { connection, "transfer-encoding": encoding, ...rest } = headers;
    return new Promise((resolve, reject) => {
      const forwarded = http.request(
        { host: "127.0.0.1", port: this.#backend, method, path, headers: { ...rest, "content-length": Buffer.byteLength(body) } },
        async (answer) => {
          const { connection, "transfer-encoding": encoding, "keep-alive": alive, ...kept } = answer.headers;
          resolve({ status: answer.statusCode, headers: kept, text: await text(answer) });
        },
      );
      forwarded.on("error", reject);
      forwarded.end(body);
    });
  }
}

// Everything a message says, as text: no provider here sends anything else.
async function text(message) {
  const chunks = [];
  for await (const chunk of message) {
    chunks.push(chunk);
  }
  return Buffer.concat(chunks).toString("utf8");
}

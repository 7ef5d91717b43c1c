// Webhooks as the SDK manages them and verifies them.
import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:http";
import { test } from "node:test";
import { ConflictException, NotFoundException, SignatureVerificationException, UnprocessableEntityException } from "@workos-inc/node";
import { apiKey, client, create, refused, sleep, ulid, unique } from "./client.mjs";

const workos = client();
const { webhooks } = workos;

// A receiver that verifies what it gets with whatever secret it has, and refuses what it cannot verify.
async function receive(t) {
  const receiver = { secret: "", events: [], refusals: 0 };
  const server = createServer(async (request, response) => {
    const chunks = [];
    for await (const chunk of request) {
      chunks.push(chunk);
    }
    const payload = Buffer.concat(chunks).toString();
    try {
      receiver.events.push(await webhooks.constructEvent({ payload, sigHeader: request.headers["workos-signature"], secret: receiver.secret }));
      response.writeHead(200).end();
    } catch (error) {
      assert.ok(error instanceof SignatureVerificationException, error);
      receiver.refusals += 1;
      response.writeHead(400).end();
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  receiver.url = `http://127.0.0.1:${server.address().port}/${unique()}`;
  receiver.about = async (name, n) => {
    for (const end = Date.now() + 30_000; Date.now() < end; await sleep(20)) {
      const mine = receiver.events.filter(({ data }) => data.kvName === name);
      if (mine.length >= n) {
        return mine;
      }
    }
    assert.fail(`${name}: ${JSON.stringify(receiver.events)}, ${receiver.refusals} refused`);
  };
  return receiver;
}

// What the SDK has no method for.
async function post(path, body) {
  const answer = await fetch(new URL(path, process.env.CULVERT_BASE_URL), {
    method: "POST",
    headers: { authorization: `Bearer ${apiKey}`, "content-type": "application/json" },
    body: JSON.stringify(body),
  });
  assert.equal(answer.status, 200);
  return answer.json();
}

test("events of the vault arrive, in order, and the SDK verifies them", async (t) => {
  const receiver = await receive(t);
  const endpoint = await webhooks.createWebhookEndpoint({
    endpointUrl: receiver.url,
    events: ["vault.data.created", "vault.data.updated", "vault.data.deleted"],
  });
  assert.match(endpoint.id, new RegExp(`^we_${ulid}$`));
  assert.match(endpoint.secret, /^whsec_[0-9A-Za-z]{43}$/);
  assert.equal(endpoint.status, "enabled");
  receiver.secret = endpoint.secret;

  const { id, name, metadata } = await create(workos);
  await workos.vault.updateObject({ id, value: unique() });
  await workos.vault.deleteObject({ id });
  const seen = await receiver.about(name, 3);
  assert.deepEqual(seen.map(({ event }) => event), ["vault.data.created", "vault.data.updated", "vault.data.deleted"]);
  assert.equal(seen[0].data.keyId, metadata.keyId);
  assert.equal(receiver.refusals, 0);
  const log = await workos.events.listEvents({ events: ["vault.data.created"], order: "desc", limit: 100 });
  assert.deepEqual(seen[0], log.data.find(({ data }) => data.kvName === name), "a webhook is what the log shows");

  // The secret is shown once.
  const listed = (await webhooks.listWebhookEndpoints()).data.find((one) => one.id === endpoint.id);
  assert.deepEqual({ ...listed, secret: undefined }, { ...endpoint, secret: undefined });
  assert.equal(listed.secret, `whsec_****${endpoint.secret.slice(-4)}`);

  // A rotation: the receiver is got along with under either secret, then under the new one.
  const { secret } = await post(`/culvert/v1/webhooks/${endpoint.id}/rotate-secret`, { overlap: "1h" });
  const old = await create(workos);
  await receiver.about(old.name, 1);
  receiver.secret = secret;
  const fresh = await create(workos);
  await receiver.about(fresh.name, 1);

  const disabled = await webhooks.updateWebhookEndpoint({ id: endpoint.id, status: "disabled" });
  assert.equal(disabled.status, "disabled");
  await webhooks.deleteWebhookEndpoint({ id: endpoint.id });
  await refused(webhooks.deleteWebhookEndpoint({ id: endpoint.id }), NotFoundException, 404);
});

test("refusals are the SDK's own exceptions", async () => {
  const endpointUrl = `http://127.0.0.1:1/${unique()}`;
  const { id } = await webhooks.createWebhookEndpoint({ endpointUrl, events: ["pipes.connected_account.connected"] });
  await refused(webhooks.createWebhookEndpoint({ endpointUrl, events: ["vault.data.created"] }), ConflictException, 409);
  await refused(webhooks.createWebhookEndpoint({ endpointUrl: "http://10.0.0.1/", events: ["vault.data.created"] }), UnprocessableEntityException, 422);
  await refused(webhooks.createWebhookEndpoint({ endpointUrl: `${endpointUrl}2`, events: ["no.such.event"] }), UnprocessableEntityException, 422);
  await webhooks.deleteWebhookEndpoint({ id });
});

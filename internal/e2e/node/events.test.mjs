// The event log as the SDK's listEvents sees it.
import assert from "node:assert/strict";
import { test } from "node:test";
import { OauthException, UnprocessableEntityException } from "@workos-inc/node";
import { client, create, refused, secret, ulid, unique } from "./client.mjs";

const workos = client();
const { vault, events } = workos;

const types = ["vault.kek.created", "vault.data.created", "vault.data.updated", "vault.data.deleted"];

// Reads the log forward from a cursor to its end, as a consumer does.
async function* follow(after, options = {}) {
  for (;;) {
    const page = await events.listEvents({ events: types, limit: 3, after, ...options });
    yield* page.data;
    if (!page.listMetadata.after) {
      return;
    }
    assert.equal(page.listMetadata.after, page.data.at(-1).id);
    after = page.listMetadata.after;
  }
}

async function collect(source) {
  const all = [];
  for await (const event of source) {
    all.push(event);
  }
  return all;
}

// Makes one object with a context of its own, updates and deletes it.
async function live() {
  const context = { mark: unique() };
  const { id, name, metadata } = await create(workos, { context });
  await vault.updateObject({ id, value: secret() });
  await vault.deleteObject({ id });
  const actor = { actorId: metadata.updatedBy.id, actorSource: "api", actorName: metadata.updatedBy.name };
  const { keyId } = metadata;
  return {
    name,
    keyId,
    want: [
      ["vault.kek.created", { ...actor, keyName: keyId, keyId }],
      ["vault.data.created", { ...actor, kvName: name, keyId, keyContext: context }],
      ["vault.data.updated", { ...actor, kvName: name, keyId, keyContext: context }],
      ["vault.data.deleted", { ...actor, kvName: name }],
    ],
  };
}

const of = ({ name, keyId }) => ({ data }) => data.kvName === name || data.keyId === keyId;

test("every change is one event, in the order of the changes", async () => {
  const before = new Date(Date.now() - 1).toISOString();
  const objects = [await live(), await live()];
  const log = await collect(follow());

  for (const object of objects) {
    const mine = log.filter(of(object));
    assert.deepEqual(mine.map(({ event, data }) => [event, data]), object.want);
    for (const { id, createdAt } of mine) {
      assert.match(id, new RegExp(`^event_${ulid}$`));
      assert.match(createdAt, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
      assert.ok(createdAt >= before && createdAt <= new Date().toISOString());
    }
  }
  assert.ok(log.findIndex(of(objects[0])) < log.findIndex(of(objects[1])));
  assert.equal(new Set(log.map(({ id }) => id)).size, log.length);
});

test("a consumer that goes on from its last id misses nothing", async () => {
  const first = await live();
  const old = await collect(follow());
  assert.equal(old.filter(of(first)).length, first.want.length);

  const second = await live();
  const news = await collect(follow(old.at(-1).id));
  assert.deepEqual(news.filter(of(second)).map(({ event, data }) => [event, data]), second.want);
  const seen = new Set(old.map(({ id }) => id));
  assert.ok(news.every(({ id }) => !seen.has(id)), "an event came twice");
});

test("types and times filter", async () => {
  const object = await live();
  for (const type of types) {
    const log = await collect(follow(undefined, { events: [type] }));
    assert.ok(log.every(({ event }) => event === type));
    assert.deepEqual(
      log.filter(of(object)).map(({ event, data }) => [event, data]),
      object.want.filter(([event]) => event === type),
    );
  }
  const later = new Date(Date.now() + 60_000).toISOString();
  assert.deepEqual((await events.listEvents({ events: types, rangeStart: later })).data, []);
  const ended = await events.listEvents({ events: types, rangeEnd: "2024-01-01T00:00:00.000Z" });
  assert.deepEqual(ended.data, []);
  const all = await events.listEvents({ events: types, rangeStart: "2024-01-01T00:00:00.000Z", rangeEnd: later });
  assert.ok(all.data.length > 0);
});

test("descending begins with the newest", async () => {
  const object = await live();
  const page = await events.listEvents({ events: types, order: "desc", limit: 100 });
  assert.deepEqual(
    page.data.filter(of(object)).map(({ event, data }) => [event, data]),
    [...object.want].reverse(),
  );
});

test("a refused change is no event", async () => {
  const last = (await collect(follow())).at(-1)?.id;
  const { id, name, metadata } = await create(workos);
  await create(workos, { name }).catch(() => {});
  await vault.updateObject({ id, value: secret(), versionCheck: "stale" }).catch(() => {});
  await vault.deleteObject({ id, versionCheck: "stale" }).catch(() => {});
  const news = await collect(follow(last));
  assert.deepEqual(
    news.filter(({ data }) => data.kvName === name).map(({ event }) => event),
    ["vault.data.created"],
  );
  assert.ok(metadata.versionId);
});

test("reads are events where the server makes them, one each", async () => {
  const context = { mark: unique() };
  const { id, name, metadata } = await create(workos, { context });
  await vault.readObject({ id });
  await vault.readObjectByName(name);
  await vault.describeObject({ id });
  const { encryptedKeys } = await vault.createDataKey({ context });
  await vault.decryptDataKey({ keys: encryptedKeys });
  const actor = { actorId: metadata.updatedBy.id, actorSource: "api", actorName: metadata.updatedBy.name };
  const { keyId } = metadata;
  const want = [
    ["vault.data.read", { ...actor, kvName: name, keyId }],
    ["vault.data.read", { ...actor, kvName: name, keyId }],
    ["vault.metadata.read", { ...actor, kvName: name }],
    ["vault.dek.read", { ...actor, keyIds: [keyId], keyContext: context }],
    ["vault.dek.decrypted", { ...actor, keyId }],
  ];
  const reads = [...new Set(want.map(([type]) => type))];
  // They come some seconds behind the reads.
  let mine = [];
  for (const end = Date.now() + 30_000; mine.length < want.length && Date.now() < end; ) {
    await new Promise((done) => setTimeout(done, 200));
    const log = await collect(follow(undefined, { events: reads, limit: 100 }));
    mine = log.filter(({ data }) => data.kvName === name || data.keyId === keyId || data.keyIds?.includes(keyId));
  }
  assert.deepEqual(mine.map(({ event, data }) => [event, data]), want);
});

test("the types are required, and queries are checked", async () => {
  const missing = await refused(events.listEvents({}), UnprocessableEntityException, 422);
  assert.match(missing.message, /required/);
  await refused(events.listEvents(), UnprocessableEntityException, 422);

  // Outside the vault's routes a 400 carries no "error" member, so the SDK has no class of its own for it.
  const page = await events.listEvents({ events: types, limit: 1 });
  for (const [wrong, right] of [
    [{ after: "event_nope" }, { after: page.data[0].id }],
    [{ limit: 0 }, { limit: 1 }],
    [{ order: "sideways" }, { order: "asc" }],
    [{ rangeStart: "yesterday" }, { rangeStart: "2024-01-01T00:00:00Z" }],
    [{ after: page.data[0].id, rangeStart: "2024-01-01T00:00:00Z" }, { after: page.data[0].id }],
  ]) {
    await assert.rejects(events.listEvents({ events: types, ...wrong }), (error) => {
      assert.equal(error.status, 400, JSON.stringify(wrong));
      assert.ok(!(error instanceof OauthException));
      assert.match(error.requestID, /\S/);
      return true;
    });
    assert.equal((await events.listEvents({ events: types, ...right })).object, "list");
  }
});

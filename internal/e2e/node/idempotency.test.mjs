// Idempotency-Key: a create that is sent again is answered again, and done once.
import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { ConflictException } from "@workos-inc/node";
import { client, clientThrough, create, refused, secret, unique } from "./client.mjs";

const workos = client();
const { vault } = workos;

const body = () => ({ name: unique(), value: secret(), key_context: { idem: "yes" } });
const post = (entity, idempotencyKey) => workos.post("/vault/v1/kv", entity, { idempotencyKey });

// Loses the answer of the first request, as a broken connection would: the SDK sees a network error
// and retries by itself, under the Idempotency-Key it has chosen.
function losingFirstAnswer() {
  const direct = globalThis.fetch;
  const keys = [];
  return [keys, clientThrough(async (url, init) => {
    keys.push(init.headers["Idempotency-Key"]);
    const response = await direct(url, init);
    if (keys.length === 1) {
      await response.arrayBuffer();
      assert.equal(response.status, 201);
      throw new TypeError("fetch failed");
    }
    return response;
  })];
}

test("a create whose answer was lost gives the same object when the SDK retries", async () => {
  const [keys, lossy] = losingFirstAnswer();
  const { id, name, object } = await create(lossy, { context: { lossy: "yes" } });

  assert.equal(keys.length, 2);
  assert.match(keys[0], /^retry-/);
  assert.equal(keys[0], keys[1]);
  assert.deepEqual(await vault.readObject({ id }), object);
  assert.deepEqual((await vault.listObjects({ search: name })).data.map((summary) => summary.id), [id]);
  assert.equal((await vault.listObjectVersions({ id })).length, 1);
});

test("the same key and body give the same answer, also after an update", async () => {
  const [entity, key] = [body(), randomUUID()];
  const { data: first } = await post(entity, key);
  assert.deepEqual((await post(entity, key)).data, first);

  const value = secret();
  await vault.updateObject({ id: first.id, value });
  assert.deepEqual((await post(entity, key)).data, first);
  assert.equal((await vault.readObject({ id: first.id })).value, value);
});

test("concurrent creates under one key make one object", async () => {
  const [entity, key] = [body(), randomUUID()];
  const answers = await Promise.all(Array.from({ length: 8 }, () => post(entity, key)));
  for (const { data } of answers) {
    assert.deepEqual(data, answers[0].data);
  }
  assert.equal((await vault.listObjects({ search: entity.name })).data.length, 1);
});

test("another body under the same key is a conflict", async () => {
  const [entity, key] = [body(), randomUUID()];
  const { data: first } = await post(entity, key);
  for (const other of [
    { ...entity, value: secret() },
    { ...entity, name: unique() },
    { ...entity, key_context: { idem: "no" } },
  ]) {
    const error = await refused(post(other, key), ConflictException, 409);
    assert.equal(error.code, "idempotency_error");
  }
  assert.deepEqual((await post(entity, key)).data, first);
  assert.equal((await vault.readObject({ id: first.id })).value, entity.value);
});

test("without the key, or with another, the same body is a duplicate", async () => {
  const entity = body();
  await post(entity, randomUUID());
  const error = await refused(post(entity, randomUUID()), ConflictException, 409);
  assert.equal(error.message, "Item already exists");
  await refused(post(entity), ConflictException, 409);
});

test("a refused create does not use its key up", async () => {
  const { name } = await create(workos);
  const [entity, key] = [body(), randomUUID()];
  await refused(post({ ...entity, name }, key), ConflictException, 409);
  const { data } = await post(entity, key);
  assert.equal((await vault.readObject({ id: data.id })).value, entity.value);
});

test("data keys are never replayed: an answer that holds a key is not kept", async () => {
  const idempotencyKey = randomUUID();
  const entity = { context: {} };
  const first = await workos.post("/vault/v1/keys/data-key", entity, { idempotencyKey });
  const second = await workos.post("/vault/v1/keys/data-key", entity, { idempotencyKey });
  assert.notEqual(first.data.data_key, second.data.data_key);
  assert.notEqual(first.data.id, second.data.id);
});

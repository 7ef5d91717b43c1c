// Refusals as the SDK's users see them: the class of the exception, its status and its text.
import assert from "node:assert/strict";
import { test } from "node:test";
import {
  ConflictException,
  NotFoundException,
  OauthException,
  UnauthorizedException,
  UnprocessableEntityException,
} from "@workos-inc/node";
import { apiKey, client, clientThrough, create, refused, secret, unique } from "./client.mjs";

const workos = client();
const { vault } = workos;

// Every operation once, on an object and a blob that exist.
function everyCall({ vault, events }, { id, name }, encryptedKeys) {
  return {
    createObject: () => vault.createObject({ name: unique(), value: secret(), context: {} }),
    listObjects: () => vault.listObjects(),
    readObject: () => vault.readObject({ id }),
    readObjectByName: () => vault.readObjectByName(name),
    describeObject: () => vault.describeObject({ id }),
    listObjectVersions: () => vault.listObjectVersions({ id }),
    createDataKey: () => vault.createDataKey({ context: {} }),
    decryptDataKey: () => vault.decryptDataKey({ keys: encryptedKeys }),
    createRekey: () => vault.createRekey({ context: { to: "x" }, encryptedKeys }),
    listEvents: () => events.listEvents({ events: ["vault.data.created"] }),
    updateObject: () => vault.updateObject({ id, value: secret() }),
    deleteObject: () => vault.deleteObject({ id }),
  };
}

test("a wrong API key is unauthorized in every operation", async () => {
  const object = await create(workos);
  const { encryptedKeys } = await vault.createDataKey({ context: {} });

  const other = apiKey.at(-1) === "0" ? "1" : "0";
  const middle = apiKey.length >> 1;
  const flipped = apiKey[middle] === "A" ? "B" : "A";
  for (const key of [
    "sk_test_wrong",
    `${apiKey}0`,
    apiKey.slice(0, -1),
    apiKey.slice(0, -1) + other,
    apiKey.slice(0, middle) + flipped + apiKey.slice(middle + 1),
    apiKey.toLowerCase(),
  ]) {
    for (const [operation, call] of Object.entries(everyCall(client(key), object, encryptedKeys))) {
      const error = await refused(call(), UnauthorizedException, 401).catch((cause) => {
        throw new Error(operation, { cause });
      });
      assert.ok(!error.message.includes(key));
    }
  }

  for (const [operation, call] of Object.entries(everyCall(workos, object, encryptedKeys))) {
    await call().catch((cause) => assert.fail(`${operation}: ${cause.message}`));
  }
});

test("a request without credentials is unauthorized", async () => {
  const { id, object } = await create(workos);
  const direct = globalThis.fetch;
  for (const authorization of [undefined, "", "Bearer", "Bearer ", `Basic ${apiKey}`, apiKey]) {
    const bare = clientThrough((url, { headers: { Authorization: _, ...headers }, ...init }) =>
      direct(url, { ...init, headers: authorization === undefined ? headers : { ...headers, Authorization: authorization } }));
    await refused(bare.vault.readObject({ id }), UnauthorizedException, 401);
  }
  assert.deepEqual(await vault.readObject({ id }), object);
});

test("what is not there is not found", async () => {
  const { id, name, object } = await create(workos);
  const absent = "0190b5a4-0000-7000-8000-000000000000";
  for (const id of [absent, "nope", "a/b", "%", "name"]) {
    await refused(vault.readObject({ id }), NotFoundException, 404);
    await refused(vault.describeObject({ id }), NotFoundException, 404);
    await refused(vault.listObjectVersions({ id }), NotFoundException, 404);
    await refused(vault.updateObject({ id, value: secret() }), NotFoundException, 404);
    await refused(vault.deleteObject({ id }), NotFoundException, 404);
  }
  for (const wrong of [`${name} `, name.toUpperCase(), name.slice(0, -1), `${name}/`]) {
    await refused(vault.readObjectByName(wrong), NotFoundException, 404);
  }
  assert.deepEqual(await vault.readObject({ id }), object);
  assert.deepEqual(await vault.readObjectByName(name), object);
});

test("conflicts tell a taken name from a stale version", async () => {
  const { id, name, metadata } = await create(workos);
  const taken = await refused(create(workos, { name }), ConflictException, 409);
  assert.equal(taken.message, "Item already exists");

  await vault.updateObject({ id, value: secret() });
  const stale = await refused(
    vault.updateObject({ id, value: secret(), versionCheck: metadata.versionId }), ConflictException, 409);
  assert.notEqual(stale.code, taken.code);
  assert.notEqual(stale.message, taken.message);
});

test("values are limited to 1 MiB", async () => {
  const value = secret().padEnd(1 << 20, "v");
  const { id, object } = await create(workos, { value });
  assert.deepEqual(await vault.readObject({ id }), object);
  await vault.updateObject({ id, value: value.toUpperCase() });

  await refused(create(workos, { value: `${value}v` }), UnprocessableEntityException, 422);
  await refused(vault.updateObject({ id, value: `${value}v` }), UnprocessableEntityException, 422);
  assert.equal((await vault.readObject({ id })).value, value.toUpperCase());
});

test("text that is not Unicode is malformed", async () => {
  const { id, value } = await create(workos);
  for (const lone of ["\ud800", "\udc00x", "x\udbff"]) {
    await refused(create(workos, { name: unique(lone) }), OauthException, 400);
    await refused(create(workos, { value: secret(lone) }), OauthException, 400);
    await refused(create(workos, { context: { lone } }), OauthException, 400);
    await refused(vault.updateObject({ id, value: secret(lone) }), OauthException, 400);
  }
  assert.equal((await vault.readObject({ id })).value, value);
});

test("missing fields and fields of another type are refused", async () => {
  const name = unique();
  const good = { name, value: secret(), key_context: {} };
  for (const [wrong, exception, status] of [
    [[good], OauthException, 400],
    [null, OauthException, 400],
    [{ ...good, name: 7 }, UnprocessableEntityException, 422],
    [{ ...good, value: { deep: "er" } }, UnprocessableEntityException, 422],
    [{ ...good, key_context: { n: 1 } }, UnprocessableEntityException, 422],
    [{ ...good, key_context: [] }, UnprocessableEntityException, 422],
    // null is as good as absent.
    [{ ...good, name: null }, UnprocessableEntityException, 422],
    [{ ...good, value: undefined }, UnprocessableEntityException, 422],
    [{ ...good, key_context: undefined }, UnprocessableEntityException, 422],
  ]) {
    await refused(workos.post("/vault/v1/kv", wrong), exception, status).catch((cause) => {
      throw new Error(JSON.stringify(wrong), { cause });
    });
  }
  const { data } = await workos.post("/vault/v1/kv", { ...good, unknown: "ignored" });
  assert.equal((await vault.readObjectByName(name)).id, data.id);
});

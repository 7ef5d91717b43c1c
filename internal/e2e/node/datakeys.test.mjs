// Data keys: created, decrypted, moved to another context, and used for local encryption.
import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { OauthException, UnprocessableEntityException } from "@workos-inc/node";
import { client, recordingClient, refused, uuid } from "./client.mjs";

const { vault } = client();

const bytes = (base64) => Buffer.from(base64, "base64");

// Standard, padded and canonical: the SDKs decode blobs, embed the bytes, and encode them again.
function assertCanonical(base64) {
  assert.equal(bytes(base64).toString("base64"), base64);
}

// Compares data keys {id, key} without printing them.
function assertSameKey(got, want) {
  assert.deepEqual(Object.keys(got).sort(), ["id", "key"]);
  assert.equal(got.id, want.id);
  assert.ok(got.key === want.key, "another data key");
}

// The ways to spoil a blob. Each keeps its alphabet and padding, so that only the content is wrong.
function* spoiled(blob) {
  const good = bytes(blob);
  for (let i = 0; i < good.length; i++) {
    const bad = Buffer.from(good);
    bad[i] ^= 0x01;
    yield [`byte ${i} flipped`, bad.toString("base64")];
  }
  for (const length of [1, 16, good.length >> 1, good.length - 1]) {
    yield [`cut to ${length}`, good.subarray(0, length).toString("base64")];
  }
  yield ["a byte more", Buffer.concat([good, Buffer.alloc(1)]).toString("base64")];
  yield ["random bytes", randomBytes(good.length).toString("base64")];
  yield ["text", "not base64!"];
  yield ["nothing", ""];
}

test("a data key is 32 bytes, and its blob decrypts to it", async () => {
  const context = { organizationId: "org_dk", "a b": "c/d" };
  const { workos: recorded, wire } = recordingClient();
  const pair = await recorded.vault.createDataKey({ context });
  assert.deepEqual(pair.context, context);
  assert.match(pair.dataKey.id, uuid);
  assertCanonical(pair.dataKey.key);
  assert.equal(bytes(pair.dataKey.key).length, 32);
  assertCanonical(pair.encryptedKeys);
  assert.ok(!bytes(pair.encryptedKeys).includes(bytes(pair.dataKey.key)));

  assertSameKey(await recorded.vault.decryptDataKey({ keys: pair.encryptedKeys }), pair.dataKey);

  assert.deepEqual(wire.map(({ status }) => status), [200, 200]);
  assert.deepEqual(Object.keys(wire[0].body).sort(), ["context", "data_key", "encrypted_keys", "id"]);
  assert.deepEqual(Object.keys(wire[1].body).sort(), ["data_key", "id"]);
});

test("every data key is new, whatever the context", async () => {
  const pairs = [];
  for (const context of [{}, {}, { a: "1" }, { a: "1" }]) {
    pairs.push(await vault.createDataKey({ context }));
  }
  assert.equal(new Set(pairs.map(({ dataKey }) => dataKey.key)).size, pairs.length);
  assert.equal(new Set(pairs.map(({ dataKey }) => dataKey.id)).size, pairs.length);
  for (const { dataKey, encryptedKeys } of pairs) {
    assertSameKey(await vault.decryptDataKey({ keys: encryptedKeys }), dataKey);
  }
});

test("anything but a whole blob is a clean 400", async () => {
  const { dataKey, encryptedKeys } = await vault.createDataKey({ context: { garbage: "yes" } });
  for (const [what, keys] of spoiled(encryptedKeys)) {
    const error = await refused(vault.decryptDataKey({ keys }), OauthException, 400).catch((cause) => {
      throw new Error(what, { cause });
    });
    assert.match(error.error, /\S/);
    assert.ok(keys.length < 12 || !error.message.includes(keys), "a refusal does not repeat what was sent");
  }
  assertSameKey(await vault.decryptDataKey({ keys: encryptedKeys }), dataKey);
});

test("rekey moves the same key to another context", async () => {
  const [from, to] = [{ team: "red" }, { team: "blue", floor: "2" }];
  const pair = await vault.createDataKey({ context: from });
  const moved = await vault.createRekey({ context: to, encryptedKeys: pair.encryptedKeys });

  assert.deepEqual(Object.keys(moved).sort(), ["context", "dataKey", "encryptedKeys", "id"]);
  assert.deepEqual(moved.context, to);
  assertSameKey({ id: moved.id, key: moved.dataKey }, pair.dataKey);
  assertCanonical(moved.encryptedKeys);
  assert.notEqual(moved.encryptedKeys, pair.encryptedKeys);
  for (const keys of [moved.encryptedKeys, pair.encryptedKeys]) {
    assertSameKey(await vault.decryptDataKey({ keys }), pair.dataKey);
  }
});

test("rekey of anything but a whole blob is a clean 400", async () => {
  const { dataKey, encryptedKeys } = await vault.createDataKey({ context: { team: "green" } });
  const context = { team: "yellow" };
  for (const [, wrong] of spoiled(encryptedKeys)) {
    await refused(vault.createRekey({ context, encryptedKeys: wrong }), OauthException, 400);
  }
  const { id, dataKey: key } = await vault.createRekey({ context, encryptedKeys });
  assertSameKey({ id, key }, dataKey);
});

test("data texts survive local encryption with and without associated data", async () => {
  const context = { local: "yes" };
  for (const text of ["", "x", "na\u00efve \u{1f510}\u0000\n", "long ".repeat(20000)]) {
    for (const associated of [undefined, "", "user:1", "\u{1f510} + %"]) {
      const blob = await vault.encrypt(text, context, associated);
      assertCanonical(blob);
      assert.equal(await vault.decrypt(blob, associated), text);
    }
  }
});

test("no associated data and empty associated data are the same", async () => {
  assert.equal(await vault.decrypt(await vault.encrypt("same", {}), ""), "same");
  assert.equal(await vault.decrypt(await vault.encrypt("same", {}, "")), "same");
});

test("local decryption needs the same associated data and every byte", async () => {
  const blob = await vault.encrypt("bound", { local: "yes" }, "user:1");
  for (const wrong of [undefined, "", "user:2", "user:1 "]) {
    await assert.rejects(vault.decrypt(blob, wrong), { name: "OperationError" });
  }
  const bad = bytes(blob);
  bad[bad.length - 1] ^= 0x01;
  await assert.rejects(vault.decrypt(bad.toString("base64"), "user:1"), { name: "OperationError" });

  assert.equal(await vault.decrypt(blob, "user:1"), "bound");
});

test("local decryption of a blob whose key part is spoiled fails at the server, cleanly", async () => {
  const blob = await vault.encrypt("text", {}, "");
  const bad = bytes(blob);
  // 12 bytes of IV, 16 of tag, then the length of the key blob and the key blob itself.
  bad[28 + 2 + 20] ^= 0x01;
  await refused(vault.decrypt(bad.toString("base64")), OauthException, 400);
  assert.equal(await vault.decrypt(blob), "text");
});

test("data keys keep the limits of key contexts", async () => {
  const { encryptedKeys } = await vault.createDataKey({ context: {} });
  for (const context of [{ "": "x" }, { ["n".repeat(121)]: "x" }, { x: "v".repeat(501) }]) {
    await refused(vault.createDataKey({ context }), UnprocessableEntityException, 422);
    await refused(vault.createRekey({ context, encryptedKeys }), UnprocessableEntityException, 422);
  }
  const context = { ["n".repeat(120)]: "v".repeat(500) };
  assert.deepEqual((await vault.createDataKey({ context })).context, context);
  assert.deepEqual((await vault.createRekey({ context, encryptedKeys })).context, context);
});

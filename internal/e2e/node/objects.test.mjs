// Objects from creation to deletion through @workos-inc/node.
import assert from "node:assert/strict";
import { test } from "node:test";
import { ConflictException, NotFoundException } from "@workos-inc/node";
import { client, create, recordingClient, refused, secret, ulid, unique, uuid } from "./client.mjs";

const { vault } = client();
const workos = { vault };

test("create answers the metadata of the new object", async () => {
  const context = { organization_id: "org_1", "region/zone": "eu + 1" };
  const before = Date.now();
  const { metadata } = await create(workos, { context });

  assert.deepEqual(Object.keys(metadata).sort(), [
    "context", "environmentId", "id", "keyId", "updatedAt", "updatedBy", "versionId",
  ]);
  assert.deepEqual(metadata.context, context);
  assert.match(metadata.environmentId, new RegExp(`^environment_${ulid}$`));
  assert.match(metadata.id, uuid);
  assert.match(metadata.keyId, uuid);
  assert.match(metadata.versionId, uuid);
  assert.match(metadata.updatedBy.id, new RegExp(`^key_${ulid}$`));
  assert.equal(typeof metadata.updatedBy.name, "string");
  // The SDK's Date cuts microseconds off, so the server's moment may look up to 1 ms early.
  assert.ok(metadata.updatedAt.getTime() >= before - 1 && metadata.updatedAt.getTime() <= Date.now());
});

test("an object reads back by id and by name, and is described without its value", async () => {
  const { id, name, object, metadata } = await create(workos, { context: { user: "u1" } });

  assert.deepEqual(await vault.readObject({ id }), object);
  assert.deepEqual(await vault.readObjectByName(name), object);
  assert.deepEqual(await vault.readObjectByName({ name }), object);
  assert.deepEqual(await vault.describeObject({ id }), { id, name, metadata, value: undefined });
});

test("statuses, fields and time formats on the wire", async () => {
  const { workos: recorded, wire } = recordingClient();
  const { id, name } = await create(recorded);
  await recorded.vault.readObject({ id });
  await recorded.vault.readObjectByName(name);
  await recorded.vault.describeObject({ id });
  await recorded.vault.updateObject({ id, value: secret() });
  await recorded.vault.listObjectVersions({ id });
  await recorded.vault.listObjects({ search: name });
  await recorded.vault.deleteObject({ id });

  assert.deepEqual(wire.map(({ method, status }) => `${method} ${status}`), [
    "POST 201", "GET 200", "GET 200", "GET 200", "PUT 201", "GET 200", "GET 200", "DELETE 200",
  ]);
  for (const { headers } of wire) {
    assert.match(headers.get("content-type"), /application\/json/);
    assert.match(headers.get("x-request-id"), /\S/);
  }
  assert.equal(new Set(wire.map(({ headers }) => headers.get("x-request-id"))).size, wire.length);

  const metadata = ["context", "environment_id", "id", "key_id", "updated_at", "updated_by", "version_id"];
  const [created, read, byName, described, updated, versions, list, deleted] = wire.map(({ body }) => body);
  assert.deepEqual(Object.keys(created).sort(), metadata);
  assert.deepEqual(Object.keys(read).sort(), ["id", "metadata", "name", "value"]);
  assert.deepEqual(byName, read);
  assert.deepEqual(Object.keys(described).sort(), ["id", "metadata", "name"]);
  assert.deepEqual(described.metadata, created);
  assert.deepEqual(Object.keys(updated).sort(), ["id", "metadata", "name"]);
  assert.deepEqual(Object.keys(updated.metadata).sort(), metadata);
  for (const version of versions.data) {
    assert.deepEqual(Object.keys(version).sort(), ["created_at", "current_version", "etag", "id", "size"]);
  }
  assert.deepEqual(list.data.map((summary) => Object.keys(summary).sort()), [["id", "name", "updated_at"]]);
  for (const { list_metadata } of [versions, list]) {
    assert.deepEqual(list_metadata, { before: null, after: null });
  }
  assert.deepEqual(deleted, { name, success: true });

  // Older Python parses 3 or 6 fractional digits, or none, and nothing else.
  const times = [created, updated.metadata, list.data[0]].map((holder) => holder.updated_at);
  for (const time of [...times, ...versions.data.map((version) => version.created_at)]) {
    assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.(\d{3}|\d{6}))?Z$/);
  }
});

test("values come back byte for byte", async () => {
  const values = [
    "", " ", "\n", "\u0000", "\\u0041", '{"json": ["in", "json"]}', "\u2028\u2029", "\ufeffmark",
    "na\u00efve", "nai\u0308ve", "\u{1f510}\u{10ffff}", "\u202eright to left", "12345678901234567890.10",
    `${"-".repeat(64 * 1024)}`,
  ];
  for (const rest of values) {
    // The empty value stands alone; all others carry the mark.
    const value = rest === "" ? "" : secret(rest);
    const { id } = await create(workos, { value });
    assert.equal((await vault.readObject({ id })).value, value, JSON.stringify(rest.slice(0, 20)));
  }
});

test("update makes a new version and keeps the rest", async () => {
  const { id, name, metadata } = await create(workos, { context: { organizationId: "org_2" } });
  const value = secret();
  const updated = await vault.updateObject({ id, value });

  assert.match(updated.metadata.versionId, uuid);
  assert.notEqual(updated.metadata.versionId, metadata.versionId);
  assert.ok(updated.metadata.updatedAt >= metadata.updatedAt);
  assert.deepEqual(updated, {
    id,
    name,
    value: undefined,
    metadata: { ...metadata, versionId: updated.metadata.versionId, updatedAt: updated.metadata.updatedAt },
  });
  assert.deepEqual(await vault.readObject({ id }), { id, name, value, metadata: updated.metadata });
  assert.deepEqual(await vault.readObjectByName(name), { id, name, value, metadata: updated.metadata });
});

test("update with a version check wins only against the version it names", async () => {
  const { id, metadata } = await create(workos);
  const second = secret();
  const { metadata: current } = await vault.updateObject({ id, value: second, versionCheck: metadata.versionId });

  for (const versionCheck of [metadata.versionId, "no-such-version"]) {
    await refused(vault.updateObject({ id, value: secret(), versionCheck }), ConflictException, 409);
  }
  const unchanged = await vault.readObject({ id });
  assert.equal(unchanged.value, second);
  assert.equal(unchanged.metadata.versionId, current.versionId);

  const third = secret();
  await vault.updateObject({ id, value: third, versionCheck: current.versionId });
  assert.equal((await vault.readObject({ id })).value, third);
});

test("of concurrent updates with one version check exactly one wins", async () => {
  const { id, metadata } = await create(workos);
  const values = Array.from({ length: 16 }, () => secret());
  const results = await Promise.allSettled(
    values.map((value) => vault.updateObject({ id, value, versionCheck: metadata.versionId })),
  );
  const winners = values.filter((_, i) => results[i].status === "fulfilled");
  assert.equal(winners.length, 1);
  for (const { reason } of results.filter(({ status }) => status === "rejected")) {
    assert.ok(reason instanceof ConflictException, reason);
  }
  assert.equal((await vault.readObject({ id })).value, winners[0]);
});

test("versions list every state once, oldest first, the last one current", async () => {
  const { id, metadata } = await create(workos, { value: secret("1") });
  const { metadata: second } = await vault.updateObject({ id, value: secret("22") });

  const versions = await vault.listObjectVersions({ id });
  assert.deepEqual(versions.map((version) => version.id), [metadata.versionId, second.versionId]);
  assert.deepEqual(versions.map((version) => version.currentVersion), [false, true]);
  assert.deepEqual(versions.map((version) => version.createdAt), [metadata.updatedAt, second.updatedAt]);
  for (const { etag, size } of versions) {
    assert.match(etag, /^[0-9a-f]{32}$/);
    // What is counted is the stored ciphertext, which is never shorter than the value.
    assert.ok(Number.isInteger(size) && size >= secret("1").length);
  }
  assert.notEqual(versions[0].etag, versions[1].etag);
  assert.equal(versions[1].size, versions[0].size + 1);
});

test("equal values have different etags: an etag must not tell a value", async () => {
  const value = secret();
  const [a, b] = [await create(workos, { value }), await create(workos, { value })];
  const [[first], [second]] = [await vault.listObjectVersions(a), await vault.listObjectVersions(b)];
  assert.equal(first.size, second.size);
  assert.notEqual(first.etag, second.etag);
});

test("delete makes an object unreachable and its name free", async () => {
  const { id, name } = await create(workos);
  assert.equal(await vault.deleteObject({ id }), undefined);

  await refused(vault.readObject({ id }), NotFoundException, 404);
  await refused(vault.readObjectByName(name), NotFoundException, 404);
  await refused(vault.describeObject({ id }), NotFoundException, 404);
  await refused(vault.listObjectVersions({ id }), NotFoundException, 404);
  await refused(vault.updateObject({ id, value: secret() }), NotFoundException, 404);
  await refused(vault.deleteObject({ id }), NotFoundException, 404);

  const again = await create(workos, { name });
  assert.notEqual(again.id, id);
  assert.deepEqual(await vault.readObjectByName(name), again.object);
  await refused(vault.readObject({ id }), NotFoundException, 404);
});

test("delete with a version check deletes only the version it names", async () => {
  const { id, name, metadata } = await create(workos);
  const value = secret();
  const { metadata: current } = await vault.updateObject({ id, value });

  await refused(vault.deleteObject({ id, versionCheck: metadata.versionId }), ConflictException, 409);
  assert.deepEqual(await vault.readObject({ id }), { id, name, value, metadata: current });

  await vault.deleteObject({ id, versionCheck: current.versionId });
  await refused(vault.readObject({ id }), NotFoundException, 404);
});

test("a name is taken while its object lives", async () => {
  const { id, name, object } = await create(workos);
  const error = await refused(create(workos, { name }), ConflictException, 409);
  assert.equal(error.message, "Item already exists");
  assert.deepEqual(await vault.readObject({ id }), object);

  await create(workos, { name: unique() });
});

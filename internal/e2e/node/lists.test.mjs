// Lists: cursors in both directions, both orders, search, the updated-after filter, auto pagination.
import assert from "node:assert/strict";
import { before, test } from "node:test";
import { OauthException } from "@workos-inc/node";
import { client, create, recordingClient, refused, secret, sleep, unique } from "./client.mjs";

const workos = client();
const { vault } = workos;

// More than one page of the SDK's auto pagination, which asks for 100 at a time.
const search = unique("-list-");
const created = [];
let ascending, descending;

before(async () => {
  for (let i = 0; i < 105; i++) {
    const { id, name, metadata } = await create(workos, { name: `${search}${String(i).padStart(3, "0")}` });
    created.push({ id, name, updatedAt: metadata.updatedAt });
  }
  ascending = created;
  descending = [...created].reverse();
});

test("the default is ten, newest first", async () => {
  const page = await vault.listObjects({ search });
  assert.equal(page.object, "list");
  assert.deepEqual(page.data, descending.slice(0, 10));
  assert.deepEqual(page.listMetadata, { before: null, after: descending[9].id });
});

test("without options the newest objects of the environment come first", async () => {
  const { id } = await create(workos);
  const ids = (await vault.listObjects()).data.map((summary) => summary.id);
  // Ids rise with time. Other suites may have created something in between.
  assert.equal(ids.length, 10);
  assert.deepEqual(ids, [...ids].sort().reverse());
  assert.ok(ids[0] >= id);
});

for (const order of ["asc", "desc"]) {
  test(`forward through all pages, ${order}, and back again`, async () => {
    const all = order === "asc" ? ascending : descending;
    const limit = 40;
    const starts = [0, 40, 80];

    let after;
    for (const start of starts) {
      const page = await vault.listObjects({ search, order, limit, after });
      const want = all.slice(start, start + limit);
      assert.deepEqual(page.data, want);
      assert.equal(page.listMetadata.before, start === 0 ? null : want[0].id);
      assert.equal(page.listMetadata.after, start === 80 ? null : want.at(-1).id);
      after = page.listMetadata.after;
    }
    assert.equal(after, null);

    let before = all[80].id;
    for (const start of [40, 0]) {
      const page = await vault.listObjects({ search, order, limit, before });
      assert.deepEqual(page.data, all.slice(start, start + limit));
      assert.equal(page.listMetadata.before, start === 0 ? null : all[start].id);
      assert.equal(page.listMetadata.after, all[start + limit - 1].id);
      before = page.listMetadata.before;
    }
    assert.equal(before, null);
  });
}

test("a page that ends exactly at the last object has no cursor behind it", async () => {
  const page = await vault.listObjects({ search, order: "asc", limit: 5, after: ascending[99].id });
  assert.deepEqual(page.data, ascending.slice(100));
  assert.equal(page.listMetadata.after, null);

  const beyond = await vault.listObjects({ search, order: "asc", limit: 5, after: ascending[104].id });
  assert.deepEqual(beyond.data, []);
  assert.equal(beyond.listMetadata.after, null);
});

test("a cursor holds when the object it names is deleted meanwhile", async () => {
  const prefix = unique("-gone-");
  const objects = [];
  for (let i = 0; i < 4; i++) {
    objects.push(await create(workos, { name: `${prefix}${i}` }));
  }
  const first = await vault.listObjects({ search: prefix, order: "asc", limit: 2 });
  assert.deepEqual(first.data.map(({ id }) => id), [objects[0].id, objects[1].id]);
  await vault.deleteObject({ id: objects[1].id });

  const second = await vault.listObjects({ search: prefix, order: "asc", limit: 2, after: first.listMetadata.after });
  assert.deepEqual(second.data.map(({ id }) => id), [objects[2].id, objects[3].id]);
});

test("limits above 100 are cut to 100", async () => {
  const page = await vault.listObjects({ search, order: "asc", limit: 1000 });
  assert.deepEqual(page.data, ascending.slice(0, 100));
  assert.equal(page.listMetadata.after, ascending[99].id);
});

for (const order of ["asc", "desc"]) {
  test(`auto pagination returns everything once, ${order}`, async () => {
    const list = await vault.listObjects({ search, order });
    assert.deepEqual(await list.autoPagination(), order === "asc" ? ascending : descending);
  });
}

test("auto pagination that starts at a cursor", async () => {
  const from = await vault.listObjects({ search, order: "asc", after: ascending[2].id });
  assert.deepEqual(await from.autoPagination(), ascending.slice(3));

  // From the second page on the SDK sends the caller's before together with its own after: what lies
  // between the two is wanted.
  const until = await vault.listObjects({ search, order: "asc", before: ascending[4].id });
  assert.deepEqual(await until.autoPagination(), ascending.slice(0, 4));
});

test("search keeps the names that contain it, byte for byte", async () => {
  const [mixed, lower] = [await create(workos, { name: unique("-Find/Me %_*") }), await create(workos, { name: unique("-find/me %_*") })];
  const find = async (text) => (await vault.listObjects({ search: text, limit: 100 })).data.map(({ id }) => id);

  const tail = mixed.name.slice("e2e-name-".length);
  assert.deepEqual(await find(mixed.name), [mixed.id]);
  assert.deepEqual(await find(tail), [mixed.id]);
  assert.deepEqual(await find(tail.slice(4, -2)), [mixed.id]);
  assert.deepEqual(await find(lower.name), [lower.id]);
  assert.deepEqual(await find(unique()), []);
});

test("updated-after keeps what changed later, in both spellings", async () => {
  const prefix = unique("-after-");
  const old = await create(workos, { name: `${prefix}old` });
  const touched = await create(workos, { name: `${prefix}touched` });
  await sleep(20);
  // A moment between the two halves, by the server's own clock.
  const updatedAfter = new Date(touched.metadata.updatedAt.getTime() + 10).toISOString();
  const fresh = await create(workos, { name: `${prefix}fresh` });
  const { metadata } = await vault.updateObject({ id: touched.id, value: secret() });
  assert.ok(metadata.updatedAt.toISOString() > updatedAfter);

  const want = [
    { id: touched.id, name: touched.name, updatedAt: metadata.updatedAt },
    { id: fresh.id, name: fresh.name, updatedAt: fresh.metadata.updatedAt },
  ];
  const { workos: recorded, wire } = recordingClient();
  const list = await recorded.vault.listObjects({ search: prefix, order: "asc", updatedAfter });
  assert.deepEqual(list.data, want);
  // Auto pagination asks again, with the other spelling.
  assert.deepEqual(await list.autoPagination(), want);
  assert.deepEqual(
    wire.map(({ query }) => [query.updated_after, query.updatedAfter]),
    [[updatedAfter, undefined], [undefined, updatedAfter]],
  );

  const all = await vault.listObjects({ search: prefix, order: "asc", updatedAfter: "2024-01-01T00:00:00Z" });
  assert.deepEqual(all.data.map(({ id }) => id), [old.id, touched.id, fresh.id]);
});

test("a malformed query is refused, its twin is not", async () => {
  const { id } = created[50];
  for (const [wrong, right] of [
    [{ order: "sideways" }, { order: "asc" }],
    [{ limit: 0 }, { limit: 1 }],
    [{ limit: -1 }, { limit: 100 }],
    [{ limit: "ten" }, { limit: "10" }],
    [{ after: "no-such-object" }, { after: id }],
    [{ before: "no-such-object" }, { before: id }],
    [{ updatedAfter: "yesterday" }, { updatedAfter: "2024-01-01T00:00:00Z" }],
  ]) {
    await refused(vault.listObjects({ search, ...wrong }), OauthException, 400);
    assert.ok((await vault.listObjects({ search, ...right })).data.length > 0, JSON.stringify(right));
  }
});

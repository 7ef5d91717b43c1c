// Key contexts: kept verbatim, compared as bytes, limited.
import assert from "node:assert/strict";
import { test } from "node:test";
import { UnprocessableEntityException } from "@workos-inc/node";
import { client, create, refused, unique } from "./client.mjs";

const workos = client();
const { vault } = workos;

const keyOf = async (context) => (await create(workos, { context })).metadata.keyId;
const items = (count) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`item${i}`, `${i}`]));

test("a context selects one key, in any order of its items", async () => {
  const mark = unique();
  assert.equal(await keyOf({ mark, a: "1", b: "2" }), await keyOf({ b: "2", a: "1", mark }));
  assert.equal(await keyOf({}), await keyOf({}));
});

test("contexts that differ in a byte select different keys", async () => {
  const mark = unique();
  const contexts = [
    { mark },
    { mark, organization_id: "org_1" },
    { mark, organizationId: "org_1" },
    { mark, organization_id: "org_1 " },
    { mark, organization_id: "ORG_1" },
    { mark, organization_id: "" },
    { mark, a: "1", b: "2" },
    { mark, a: "2", b: "1" },
    { mark, ab: "12" },
    { mark, "\u00e9": "x" },
    { mark, "e\u0301": "x" },
  ];
  const keys = [];
  for (const context of contexts) {
    const { id, object } = await create(workos, { context });
    const read = await vault.readObject({ id });
    assert.deepEqual(read, object);
    assert.deepEqual(read.metadata.context, context);
    keys.push(read.metadata.keyId);
  }
  assert.equal(new Set(keys).size, contexts.length);
});

test("names that mean something to JavaScript are only names", async () => {
  const context = JSON.parse('{"__proto__": "x", "constructor": "y", "toString": "z"}');
  const { id } = await create(workos, { context });
  const read = await vault.readObject({ id });
  assert.deepEqual(Object.entries(read.metadata.context).sort(), Object.entries(context).sort());
});

test("limits of a context, counted in code points", async () => {
  const longest = { ["\u{1f511}".repeat(120)]: "\u{1f511}".repeat(500) };
  for (const [wrong, right] of [
    [items(11), items(10)],
    [{ ["\u{1f511}".repeat(121)]: "x" }, longest],
    [{ x: "\u{1f511}".repeat(501) }, longest],
    [{ "": "x" }, { x: "" }],
    [{ "culvert:env": "x" }, { culvert: "x" }],
    [{ "a\nb": "x" }, { "a b": "x" }],
    [{ a: "x\u0000" }, { a: "x" }],
    [{ a: "\u202ex" }, { a: "\u05d0" }],
  ]) {
    await refused(create(workos, { context: wrong }), UnprocessableEntityException, 422);
    const { metadata } = await create(workos, { context: right });
    assert.deepEqual(metadata.context, right);
  }
});

// Names that a router, a decoder or a normaliser could change on the way.
import assert from "node:assert/strict";
import { test } from "node:test";
import { UnprocessableEntityException } from "@workos-inc/node";
import { client, create, refused, secret, unique } from "./client.mjs";

const workos = client();
const { vault } = workos;

const endings = [
  "/", "//", "/a/b", "a//b", "/metadata", "/versions", "/name/x", "/../x", "/./x",
  " ", " x", "%", "%2F", "%252F", "%25", "%zz", "100% +1", "+", "a+b c", "?search=x", "#x", "&a=b", ";x", "=x",
  "\\", "'\"`", "<b>", "{}", "[0]", ":", "@", "~", "*", "|", "..", ".",
  "\u00e9", "e\u0301", "\u65e5\u672c\u8a9e", "\u{1f510}", "\u00df\u1e9e", "\u0130i", "\u00a0",
];

test("every name reads back as itself and as nothing else", async () => {
  // One random prefix for all, so that the names differ by nothing but the ending.
  const prefix = unique("-");
  const objects = [];
  for (const ending of endings) {
    objects.push(await create(workos, { name: prefix + ending }));
  }
  for (const { name, object } of objects) {
    assert.deepEqual(await vault.readObjectByName(name), object, JSON.stringify(name));
  }
  const { data } = await vault.listObjects({ search: prefix, limit: 100, order: "asc" });
  assert.deepEqual(data.map(({ name }) => name), objects.map(({ name }) => name));
});

test("names that begin with the characters of a path", async () => {
  for (const start of ["/", "//", "%2F", "+", " ", ".", "..", "?", "name/"]) {
    const { name, object } = await create(workos, { name: start + unique() });
    assert.deepEqual(await vault.readObjectByName(name), object, JSON.stringify(name));
  }
});

test("names are counted in code points, up to 200", async () => {
  for (const letter of ["n", "\u00fc", "\u{1f511}"]) {
    const prefix = unique("-");
    const name = prefix + letter.repeat(200 - prefix.length);
    const { object } = await create(workos, { name });
    assert.deepEqual(await vault.readObjectByName(name), object);

    await refused(create(workos, { name: name + letter }), UnprocessableEntityException, 422);
  }
});

test("names that cannot be addressed or that deceive a reader are refused", async () => {
  const value = secret();
  for (const name of ["", ".", "..", unique("\n"), unique("\u0000"), unique("\u0085"), unique("\u202e"), unique("\u2066")]) {
    const error = await refused(create(workos, { name, value }), UnprocessableEntityException, 422);
    assert.ok(!error.message.includes(value));
    if (name.length > 2) {
      assert.ok(!error.message.includes(name), "a refusal does not repeat what was sent");
    }
  }
  await create(workos, { name: unique("..."), value });
});

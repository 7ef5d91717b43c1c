// API keys of organizations as the SDK makes, lists, validates and deletes them.
import assert from "node:assert/strict";
import { test } from "node:test";
import { NotFoundException, UnprocessableEntityException } from "@workos-inc/node";
import { client, refused, ulid, unique } from "./client.mjs";

const { apiKeys } = client();

test("a key of an organization is valid until it is deleted", async () => {
  const organizationId = `org_${unique()}`;
  const made = await apiKeys.createOrganizationApiKey({ organizationId, name: unique(), permissions: ["posts:read"] });
  assert.match(made.id, new RegExp(`^api_key_${ulid}$`));
  assert.deepEqual(made.owner, { type: "organization", id: organizationId });
  assert.deepEqual(made.permissions, ["posts:read"]);
  assert.ok(made.value && made.value !== made.obfuscatedValue);

  const { apiKey } = await apiKeys.createValidation({ value: made.value });
  assert.equal(apiKey.id, made.id);
  assert.deepEqual(apiKey.permissions, ["posts:read"]);
  assert.equal((await apiKeys.createValidation({ value: `${made.value}x` })).apiKey, null);

  const listed = await apiKeys.listOrganizationApiKeys({ organizationId });
  assert.deepEqual(listed.data.map(({ id }) => id), [made.id]);
  assert.ok(!JSON.stringify(listed.data).includes(made.value), "the value is shown once");

  await apiKeys.deleteApiKey(made.id);
  assert.equal((await apiKeys.createValidation({ value: made.value })).apiKey, null);
  assert.deepEqual((await apiKeys.listOrganizationApiKeys({ organizationId })).data, []);
  await refused(apiKeys.deleteApiKey(made.id), NotFoundException, 404);
});

test("pages of keys", async () => {
  const organizationId = `org_${unique()}`;
  const made = [];
  for (let n = 0; n < 5; n++) {
    made.push((await apiKeys.createOrganizationApiKey({ organizationId, name: unique() })).id);
  }
  const all = await apiKeys.listOrganizationApiKeys({ organizationId, order: "asc" });
  assert.deepEqual((await all.autoPagination()).map(({ id }) => id), made);
  const paged = [];
  for (let after; ; ) {
    // With a limit the SDK shows one page.
    const page = await apiKeys.listOrganizationApiKeys({ organizationId, limit: 2, order: "asc", after });
    paged.push(...page.data.map(({ id }) => id));
    if (!(after = page.listMetadata.after)) {
      break;
    }
  }
  assert.deepEqual(paged, made);
});

test("refusals are the SDK's own exceptions", async () => {
  await refused(apiKeys.createOrganizationApiKey({ organizationId: `org_${unique()}`, name: "" }), UnprocessableEntityException, 422);
});

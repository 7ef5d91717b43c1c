import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ConflictException, NotFoundException, UnprocessableEntityException } from "@workos-inc/node";
import { account, base, call, newUser, noToken, token, workos } from "./culvert.mjs";

const ulid = "[0-9A-HJKMNP-TV-Z]{26}";
const credentials = { type: "custom", clientId: "client", clientSecret: "e2e-plaintext-secret-1234" };
const customProvider = {
  name: "Example", authorizationUrl: "https://id.example.com/authorize", tokenUrl: "https://id.example.com/token",
};

describe("integrations", () => {
  test("a built-in provider: create, read, change, delete, and create again", async () => {
    const slug = "gitlab";
    const made = await workos.pipes.createDataIntegration({ provider: slug, description: "ours", credentials });
    assert.match(made.id, new RegExp(`^data_integration_${ulid}$`));
    assert.match(made.redirectUri, new RegExp(`^${base}/data-integrations/gitlab/dik_${ulid}/callback$`));
    assert.deepEqual(made.credentials, { type: "custom", clientId: "client", redactedClientSecret: "1234" });
    assert.deepEqual(
      [made.object, made.slug, made.ownership, made.enabled, made.state, made.scopes, made.authMethods, made.customProvider, made.description],
      ["data_integration", slug, "user", false, "valid", null, ["oauth"], null, "ours"],
    );
    assert.deepEqual(await workos.pipes.getDataIntegration({ slug }), made);
    await assert.rejects(workos.pipes.createDataIntegration({ provider: slug, credentials }), ConflictException);

    const changed = await workos.pipes.updateDataIntegration({
      slug, enabled: true, scopes: ["api"], credentials: { ...credentials, clientSecret: "e2e-plaintext-secret-5678" },
    });
    assert.equal(changed.redirectUri, made.redirectUri);
    assert.deepEqual([changed.enabled, changed.scopes, changed.credentials.redactedClientSecret], [true, ["api"], "5678"]);
    assert.equal((await workos.pipes.updateDataIntegration({ slug, scopes: null })).scopes, null);

    // The other spelling of the path is the same thing.
    const { body } = await call("GET", "/data_integrations/gitlab");
    assert.equal(body.id, made.id);

    await workos.pipes.createUserConnectedAccount({ slug, userId: "user_gone", accessToken: "e2e-plaintext-at" });
    await workos.pipes.deleteDataIntegration({ slug });
    await assert.rejects(workos.pipes.getDataIntegration({ slug }), NotFoundException);
    await assert.rejects(workos.pipes.getAccessToken({ provider: slug, userId: "user_gone" }), NotFoundException);
    const again = await workos.pipes.createDataIntegration({ provider: slug, enabled: true, credentials });
    assert.notEqual(again.redirectUri, made.redirectUri);
    await noToken(slug, "user_gone", "not_installed");
  });

  test("a provider of one's own, for users and for organizations", async () => {
    const slug = "example-own";
    const own = await workos.pipes.createDataIntegration({ provider: slug, enabled: true, credentials, customProvider });
    assert.deepEqual(own.customProvider, {
      ...customProvider, refreshTokenUrl: null, pkceEnabled: true, requestScopeSeparator: " ", scopesRequired: false,
      clientSecretRequired: true, additionalAuthorizationParameters: {}, tokenBodyContentType: "application/x-www-form-urlencoded",
      authenticateVia: "request_body",
    });
    await assert.rejects(workos.pipes.getOrganizationDataIntegration({ slug }), NotFoundException);
    const shared = await workos.pipes.createDataIntegration({ provider: slug, ownership: "organization", enabled: true, credentials });
    assert.deepEqual(shared.customProvider, own.customProvider);
    assert.notEqual(shared.redirectUri, own.redirectUri);
    assert.equal((await workos.pipes.getOrganizationDataIntegration({ slug })).id, shared.id);
    assert.equal((await workos.pipes.updateOrganizationDataIntegration({ slug, description: "theirs" })).description, "theirs");
    await workos.pipes.deleteDataIntegration({ slug });
    assert.equal((await workos.pipes.getOrganizationDataIntegration({ slug })).customProvider.name, "Example");
    await workos.pipes.deleteOrganizationDataIntegration({ slug });
    await assert.rejects(workos.pipes.getOrganizationDataIntegration({ slug }), NotFoundException);
  });

  test("the list shows all of them, page by page", async () => {
    const slugs = ["example-a", "example-b", "example-c"];
    for (const slug of slugs) {
      await workos.pipes.createDataIntegration({ provider: slug, credentials, customProvider });
    }
    const first = await workos.pipes.listDataIntegrations({ limit: 2, order: "asc" });
    assert.equal(first.data.length, 2);
    const all = await (await workos.pipes.listDataIntegrations()).autoPagination();
    for (const slug of slugs) {
      assert.equal(all.filter((row) => row.slug === slug).length, 1, slug);
      await workos.pipes.deleteDataIntegration({ slug });
    }
  });

  test("definitions that lead where no secret may go are refused, and their twin is not", async () => {
    const slug = "example-twin";
    for (const tokenUrl of [
      "http://169.254.169.254/token", "https://169.254.169.254/token", "https://10.0.0.1/token", "https://[fd00:ec2::254]/token",
      "https://user@id.example.com/token", "https://id.example.com/token#x", "file:///etc/passwd", "//id.example.com/token", "http://id.example.com/token",
    ]) {
      await assert.rejects(
        workos.pipes.createDataIntegration({ provider: slug, credentials, customProvider: { ...customProvider, tokenUrl } }),
        UnprocessableEntityException, tokenUrl,
      );
    }
    await assert.rejects(workos.pipes.createDataIntegration({ provider: "github", credentials, customProvider }), { status: 422 });
    await workos.pipes.createDataIntegration({ provider: slug, credentials, customProvider });
    await workos.pipes.deleteDataIntegration({ slug });
  });
});

describe("accounts that are brought along", () => {
  const slug = "example-import";
  const accessToken = "e2e-plaintext-imported-access";
  const refreshToken = "e2e-plaintext-imported-refresh";
  const expiresAt = new Date(Date.now() + 3600_000);

  test("each combination of tokens is what the contract says", async () => {
    await workos.pipes.createDataIntegration({ provider: slug, enabled: true, credentials, customProvider });
    const rules = [
      [{}, "needs_reauthorization"],
      [{ accessToken: `${accessToken}-1` }, "connected"],
      [{ accessToken: `${accessToken}-2`, refreshToken: `${refreshToken}-2`, expiresAt }, "connected"],
      [{ accessToken: `${accessToken}-3`, expiresAt }, 422],
      [{ expiresAt }, 422],
      [{ refreshToken: `${refreshToken}-4` }, 422],
      [{ state: "connected" }, 422],
      [{ accessToken: `${accessToken}-5`, state: "needs_reauthorization" }, "needs_reauthorization"],
    ];
    for (const [tokens, wanted] of rules) {
      const userId = newUser();
      const made = workos.pipes.createUserConnectedAccount({ slug, userId, ...tokens });
      if (wanted === 422) {
        await assert.rejects(made, UnprocessableEntityException);
        await noToken(slug, userId, "not_installed");
        continue;
      }
      assert.equal((await made).state, wanted);
      if (wanted === "connected") {
        assert.equal((await token(slug, userId)).accessToken, tokens.accessToken);
      } else {
        await noToken(slug, userId, wanted);
      }
    }
  });

  test("import, conflict, change, removal; within an organization it is another account", async () => {
    const userId = newUser();
    const made = await workos.pipes.createUserConnectedAccount({ slug, userId, accessToken, scopes: ["a"] });
    assert.match(made.id, new RegExp(`^data_installation_${ulid}$`));
    assert.deepEqual(await account(slug, userId), made);
    await assert.rejects(workos.pipes.createUserConnectedAccount({ slug, userId, accessToken }), ConflictException);

    const inOrganization = { slug, userId, organizationId: "org_1" };
    await assert.rejects(workos.pipes.getUserConnectedAccount(inOrganization), NotFoundException);
    const other = await workos.pipes.createUserConnectedAccount({ ...inOrganization, accessToken: `${accessToken}-org` });
    assert.notEqual(other.id, made.id);
    assert.equal((await token(slug, userId, { organizationId: "org_1" })).accessToken, `${accessToken}-org`);

    const changed = await workos.pipes.updateUserConnectedAccount({ slug, userId, accessToken: `${accessToken}-new`, scopes: ["b"] });
    assert.deepEqual([changed.id, changed.scopes], [made.id, ["b"]]);
    assert.equal((await token(slug, userId)).accessToken, `${accessToken}-new`);
    await workos.pipes.updateUserConnectedAccount({ slug, userId, state: "needs_reauthorization" });
    await noToken(slug, userId, "needs_reauthorization");

    await workos.pipes.deleteUserConnectedAccount({ slug, userId });
    await noToken(slug, userId, "not_installed");
    assert.equal((await token(slug, userId, { organizationId: "org_1" })).accessToken, `${accessToken}-org`);
  });

  test("one refresh token is one account", async () => {
    const tokens = { accessToken, refreshToken: `${refreshToken}-shared`, expiresAt };
    const [first, second] = [newUser(), newUser()];
    await workos.pipes.createUserConnectedAccount({ slug, userId: first, ...tokens });
    await assert.rejects(workos.pipes.createUserConnectedAccount({ slug, userId: second, ...tokens }), ConflictException);
    await workos.pipes.deleteUserConnectedAccount({ slug, userId: first });
    await workos.pipes.createUserConnectedAccount({ slug, userId: second, ...tokens });
    assert.equal((await token(slug, second)).accessToken, accessToken);
  });
});

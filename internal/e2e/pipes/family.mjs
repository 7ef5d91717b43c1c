// Runs the authorization server of the kill test: each refresh token is good once, and its second use ends
// all that came of the grant.
//
//   node family.mjs N SECONDS ISSUER CLIENT_ID CLIENT_SECRET
//
// prints one line of JSON, {"port": PORT, "refresh_tokens": [N of them, each of a grant of its own]}, and
// then the number of each grant that it has ended, a line each. Access tokens live for so many seconds. The
// process ends with its standard input.
import { memory } from "./memory.mjs";
import * as oidc from "./oidc.mjs";

const [count, seconds, issuer, id, secret] = process.argv.slice(2);
const client = { client_id: id, client_secret: secret, redirect_uris: [`${issuer}/unused`] };
const { port, provider } = await oidc.start(issuer, client, () => Number(seconds), { adapter: memory() });

// As if so many users had come and consented.
const scope = "openid offline_access";
const grants = new Map();
const refreshTokens = [];
for (let n = 0; n < Number(count); n++) {
  const accountId = `user-${n}`;
  const grant = new provider.Grant({ accountId, clientId: id });
  grant.addOIDCScope(scope);
  const grantId = await grant.save(86_400);
  grants.set(grantId, n);
  refreshTokens.push(await new provider.RefreshToken({
    accountId, client: await provider.Client.find(id), grantId, scope, gty: "authorization_code", expiresIn: 86_400,
  }).save());
}
provider.on("grant.revoked", (_, grantId) => console.log(grants.get(grantId)));
console.log(JSON.stringify({ port, refresh_tokens: refreshTokens }));
process.stdin.on("end", () => process.exit(0)).resume();

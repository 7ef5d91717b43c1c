// An authorization server that keeps to the standards: npm oidc-provider, certified for OpenID Connect.
// It insists on PKCE, rotates refresh tokens, and takes the second use of one for theft: it revokes all
// that came of the grant.
import { createServer } from "node:http";
import Provider from "oidc-provider";

export const tokenPath = "/token";

// Starts one with a single registered client {client_id, client_secret, redirect_uris} and returns its
// port on loopback. issuer is where the world sees it; lifetime says how many seconds an access token
// lives that is issued now. The client authenticates in the body unless it says how, and options are those
// of oidc-provider, of which features are added to the ones that all have.
export async function start(issuer, client, lifetime, { adapter, ...features } = {}) {
  const provider = new Provider(issuer, {
    clients: [{
      token_endpoint_auth_method: "client_secret_post",
      ...client,
      grant_types: ["authorization_code", "refresh_token", "client_credentials"],
      response_types: ["code"],
    }],
    pkce: { required: () => true },
    rotateRefreshToken: true,
    issueRefreshToken: async (_, { grantTypeAllowed }, code) => code.scopes.has("offline_access"),
    scopes: ["openid", "offline_access", "email", "profile"],
    claims: { openid: ["sub"], email: ["email"], profile: ["name"] },
    findAccount: async (_, sub) => ({
      accountId: sub,
      claims: async () => ({ sub, email: `${sub}@example.com`, name: sub }),
    }),
    features: { clientCredentials: { enabled: true }, devInteractions: { enabled: true }, revocation: { enabled: true }, ...features },
    ttl: { AccessToken: () => lifetime(), ClientCredentials: () => lifetime(), RefreshToken: 86_400, Grant: 86_400, Session: 3600, Interaction: 600 },
    // Tokens end when they say so, and not a quarter of a minute later.
    clockTolerance: 0,
    cookies: { keys: [client.client_id] },
    ...(adapter && { adapter }),
  });
  const server = createServer(provider.callback());
  await new Promise((resolve) => server.listen(0, "127.0.0.1", resolve));
  return { port: server.address().port, provider, close: () => server.close() };
}

// The memory of an authorization server, as npm oidc-provider wants it: its own one forgets what is older
// than a thousand entries, and with it the used refresh tokens by which it knows a second use.
export function memory() {
  const stored = new Map();
  // What came of each grant, by key.
  const members = new Map();
  return class {
    constructor(model) {
      this.model = model;
    }

    #key(id) {
      return `${this.model}:${id}`;
    }

    async upsert(id, payload) {
      stored.set(this.#key(id), payload);
      if (payload.grantId) {
        members.set(payload.grantId, (members.get(payload.grantId) ?? new Set()).add(this.#key(id)));
      }
    }

    async find(id) {
      return stored.get(this.#key(id));
    }

    async findByUid(uid) {
      return [...stored.values()].find((payload) => payload.uid === uid);
    }

    async consume(id) {
      stored.get(this.#key(id)).consumed = Math.floor(Date.now() / 1000);
    }

    async destroy(id) {
      stored.delete(this.#key(id));
    }

    async revokeByGrantId(grant) {
      for (const key of members.get(grant) ?? []) {
        stored.delete(key);
      }
      members.delete(grant);
    }
  };
}

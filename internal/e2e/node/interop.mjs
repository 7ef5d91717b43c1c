// Lends the Node SDK to a test in another language: reads one JSON request a line from standard input
// and answers each with one line, {"result": …} or {"error": {"name", "status"}}.
import { createInterface } from "node:readline";
import { client } from "./client.mjs";

const { vault } = client();

const operations = {
  encrypt: async ({ text, context, associated }) => vault.encrypt(text, context, associated),
  decrypt: async ({ blob, associated }) => vault.decrypt(blob, associated),
  createDataKey: async ({ context }) => {
    const { dataKey, encryptedKeys } = await vault.createDataKey({ context });
    return { ...dataKey, blob: encryptedKeys };
  },
  decryptDataKey: async ({ blob }) => vault.decryptDataKey({ keys: blob }),
  create: async ({ name, value, context }) => (await vault.createObject({ name, value, context })).id,
  read: async ({ name }) => (await vault.readObjectByName(name)).value,
};

for await (const line of createInterface({ input: process.stdin })) {
  const { operation, ...request } = JSON.parse(line);
  const answer = await operations[operation](request).then(
    (result) => ({ result }),
    // Only what names the failure: a message may hold what was sent.
    ({ name, status }) => ({ error: { name, status } }),
  );
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}

// Runs one operation with npm graphql-ws or graphql-sse and writes what arrived as JSON.
// node subscribe.mjs ws|sse <url> <query> [authorization]
import * as sse from 'graphql-sse';
import * as ws from 'graphql-ws';
import WebSocket from 'ws';

const [kind, url, query, authorization] = process.argv.slice(2);
const credentials = authorization ? { authorization } : {};
const client =
  kind === 'ws'
    ? ws.createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0, connectionParams: credentials })
    : sse.createClient({ url, retryAttempts: 0, headers: credentials });
const results = [];
let error = null;
try {
  for await (const result of client.iterate({ query })) results.push(result);
} catch (thrown) {
  const closed = thrown.code && { code: thrown.code, reason: thrown.reason };
  error = Array.isArray(thrown) ? thrown : closed || String(thrown);
}
client.dispose();
process.stdout.write(JSON.stringify({ results, error }));

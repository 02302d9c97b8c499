// Runs one operation with npm graphql-ws or graphql-sse and writes what arrived as JSON.
// node subscribe.mjs ws|sse <url> <query>
import * as sse from 'graphql-sse';
import * as ws from 'graphql-ws';
import WebSocket from 'ws';

const [kind, url, query] = process.argv.slice(2);
const client =
  kind === 'ws'
    ? ws.createClient({ url, webSocketImpl: WebSocket, retryAttempts: 0 })
    : sse.createClient({ url, retryAttempts: 0 });
const results = [];
let error = null;
try {
  for await (const result of client.iterate({ query })) results.push(result);
} catch (thrown) {
  error = Array.isArray(thrown) ? thrown : String(thrown);
}
client.dispose();
process.stdout.write(JSON.stringify({ results, error }));

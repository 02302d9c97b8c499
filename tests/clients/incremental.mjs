// Runs queries with @defer by Apollo Client or urql, one after another, and writes as JSON for each what was sent
// and every state that the application saw.
// node incremental.mjs apollo|apollo-older|urql|urql-sse <url> <query>...
import { ApolloClient, HttpLink, InMemoryCache, gql } from '@apollo/client';
import { Defer20220824Handler, GraphQL17Alpha9Handler } from '@apollo/client/incremental';
import { createClient, fetchExchange } from '@urql/core';

const [kind, url, ...queries] = process.argv.slice(2);
let seen = [];
let sent = [];

// What the client asked for and got, as the browser's network panel would show it.
async function watchedFetch(address, options) {
  const response = await fetch(address, options);
  const accept = new Headers(options.headers).get('accept');
  sent.push({ accept, status: response.status, type: response.headers.get('content-type') });
  return response;
}

function apollo(query, incrementalHandler) {
  const client = new ApolloClient({
    cache: new InMemoryCache(),
    link: new HttpLink({ uri: url, fetch: watchedFetch }),
    incrementalHandler,
  });
  return new Promise((resolve) => {
    const observable = client.watchQuery({ query: gql(query), errorPolicy: 'all' });
    observable.subscribe(({ data, dataState, error }) => {
      if (dataState === 'empty' && !error) return;
      seen.push({ data, errors: error?.errors ?? (error ? [String(error)] : []) });
      if (dataState === 'complete' || error) resolve();
    });
  });
}

function urql(query, headers) {
  const client = createClient({
    url,
    fetch: watchedFetch,
    exchanges: [fetchExchange],
    preferGetMethod: false,
    fetchOptions: { headers },
  });
  return new Promise((resolve) => {
    client.query(query, {}).subscribe(({ data, error, hasNext }) => {
      seen.push({ data, errors: error ? (error.graphQLErrors.length ? error.graphQLErrors : [error.message]) : [] });
      if (!hasNext) resolve();
    });
  });
}

const run = {
  apollo: (query) => apollo(query, new GraphQL17Alpha9Handler()),
  'apollo-older': (query) => apollo(query, new Defer20220824Handler()),
  urql: (query) => urql(query, {}),
  'urql-sse': (query) => urql(query, { accept: 'text/event-stream' }),
}[kind];
const found = [];
for (const query of queries) {
  [seen, sent] = [[], []];
  await run(query);
  found.push({ seen, sent });
}
process.stdout.write(JSON.stringify(found));

import type { FetcherParams } from "@graphiql/toolkit";
import { createClient, type ExecutionResult } from "graphql-ws";

import { webSocketUrl } from "./endpoint";
import { createEventLog } from "./event-log";

/**
 * Runs one subscription over a socket of its own, with the request headers as connection parameters.
 *
 * The iterator is written out, since an async generator would not end before the next event arrives. There is
 * no retry: a socket that is lost is said, where a silent new one would hide the events in between.
 */
export function subscribe(
  params: FetcherParams,
  headers: Record<string, unknown> = {},
): AsyncIterable<ExecutionResult> {
  const client = createClient({ url: webSocketUrl, connectionParams: headers, retryAttempts: 0 });
  const messages = client.iterate({
    query: params.query,
    variables: params.variables,
    operationName: params.operationName ?? null,
  });
  const log = createEventLog();
  const iterator: AsyncIterator<ExecutionResult> = {
    async next() {
      try {
        const message = await messages.next();
        return message.done ? message : { done: false, value: log(message.value) as ExecutionResult };
      } catch (error) {
        throw readable(error);
      }
    },
    async return() {
      await messages.return?.();
      return { done: true, value: undefined };
    },
  };
  return { [Symbol.asyncIterator]: () => iterator };
}

function readable(error: unknown): unknown {
  if (!(error instanceof CloseEvent)) {
    return error;
  }
  const reason = error.reason ? `: ${error.reason}` : "";
  return new Error(`The connection was closed (${error.code}${reason}). Run the subscription again.`);
}

import { createGraphiQLFetcher, type Fetcher, type FetcherParams } from "@graphiql/toolkit";
import { getOperationAST, type OperationDefinitionNode, parse } from "graphql";

import { httpUrl } from "./endpoint";
import { subscribe } from "./subscribe";

const overHttp = createGraphiQLFetcher({ url: httpUrl });

/**
 * Queries and mutations go over HTTP, `@defer` as multipart; subscriptions over a WebSocket.
 *
 * GraphiQL hands over the text as it stands in the editor, but the operation's name and the parsed document from
 * when it last looked, a moment after the last change. So both are taken from the text: who pastes an operation or
 * changes the tab, and runs at once, runs what is shown.
 */
export const fetcher: Fetcher = (params, options) => {
  const operation = operationOf(params);
  const current = operation ? { ...params, operationName: operation.name?.value ?? null } : params;
  return operation?.operation === "subscription"
    ? subscribe(current, options?.headers)
    : overHttp(current, options?.headers && { headers: options.headers });
};

/** The operation of the name, or the only one; none where there are several, or no GraphQL: the API says it better. */
function operationOf({ query, operationName }: FetcherParams): OperationDefinitionNode | undefined {
  try {
    const document = parse(query);
    return getOperationAST(document, operationName) ?? getOperationAST(document) ?? undefined;
  } catch {
    return undefined;
  }
}

export interface FirstLook {
  /** The id of some agent of the viewer, or words that ask for one if the API gives none in time. */
  agentId: string;
  asksForCredentials: boolean;
}

export async function firstLook(): Promise<FirstLook> {
  let asksForCredentials = false;
  try {
    const response = await fetch(httpUrl, {
      method: "POST",
      headers: { "content-type": "application/json", accept: "application/json" },
      body: JSON.stringify({ query: "{ agents(first: 1) { edges { node { id } } } }" }),
      signal: AbortSignal.timeout(1500),
    });
    asksForCredentials = response.status === 401;
    return { agentId: (await response.json()).data.agents.edges[0].node.id, asksForCredentials };
  } catch {
    return { agentId: "put the id of an agent here", asksForCredentials };
  }
}

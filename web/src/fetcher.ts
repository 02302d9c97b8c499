import { createGraphiQLFetcher, type Fetcher } from "@graphiql/toolkit";
import { type DocumentNode, getOperationAST } from "graphql";

import { httpUrl } from "./endpoint";
import { subscribe } from "./subscribe";

const overHttp = createGraphiQLFetcher({ url: httpUrl });

/** Queries and mutations go over HTTP, `@defer` as multipart; subscriptions over a WebSocket. */
export const fetcher: Fetcher = (params, options) =>
  isSubscription(options?.documentAST, params.operationName)
    ? subscribe(params, options?.headers)
    : overHttp(params, options);

function isSubscription(document: DocumentNode | undefined, name: string | null | undefined): boolean {
  return document !== undefined && getOperationAST(document, name)?.operation === "subscription";
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

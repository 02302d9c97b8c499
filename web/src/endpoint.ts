/** The API is where this page came from, under the same path. */
export const httpUrl = new URL("graphql", document.baseURI).href;
export const webSocketUrl = httpUrl.replace(/^http/, "ws");

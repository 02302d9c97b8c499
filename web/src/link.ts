import type { Tab } from "./tabs";

/**
 * The operation that the address carries after `#`, so that it reaches no server and no log.
 *
 * It is shown, never run by itself.
 */
export function linkedTab(address: URL): Tab | undefined {
  const link = new URLSearchParams(address.hash.slice(1));
  const query = link.get("query");
  const variables = link.get("variables");
  return query ? { query, ...(variables && { variables }) } : undefined;
}

export function linkTo(tab: Tab, address: URL): string {
  const link = new URL(address);
  link.hash = new URLSearchParams({ ...tab }).toString();
  return link.href;
}

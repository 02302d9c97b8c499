import type { Storage } from "@graphiql/toolkit";

const PREFIX = "nextfire:";

/** Until the visitor drags it: the width of the explorer, as a share of the rest. */
const DEFAULTS: Record<string, string> = { "graphiql:docExplorerFlex": "0.27" };

/** Keeps our tabs apart from those of any other GraphiQL on this host and port, as developers have. */
export const storage: Storage = {
  getItem: (key) => localStorage.getItem(PREFIX + key) ?? DEFAULTS[key] ?? null,
  setItem: (key, value) => localStorage.setItem(PREFIX + key, value),
  removeItem: (key) => localStorage.removeItem(PREFIX + key),
  clear: () => {
    for (const key of ownKeys()) {
      localStorage.removeItem(key);
    }
  },
  get length() {
    return ownKeys().length;
  },
};

function ownKeys(): string[] {
  return Object.keys(localStorage).filter((key) => key.startsWith(PREFIX));
}

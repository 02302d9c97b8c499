import type { FormattedExecutionResult } from "graphql-ws";

type Result = FormattedExecutionResult<Record<string, unknown>, unknown>;

const SHOWN_EVENTS = 100;

/**
 * Makes one growing answer out of the messages of a subscription.
 *
 * The editor shows one result at a time, and a run passes through several states within a second: shown one
 * by one, only the last could be read. A field that holds a list of events keeps those of earlier
 * messages, newest first; any other field holds its latest value.
 */
export function createEventLog(): (message: Result) => Result {
  const shown: Record<string, unknown> = {};
  return (message) => {
    for (const [field, value] of Object.entries(message.data ?? {})) {
      shown[field] = Array.isArray(value) ? newestFirst(value, shown[field]) : value;
    }
    return message.data ? { ...message, data: { ...shown } } : message;
  };
}

function newestFirst(arrived: unknown[], earlier: unknown): unknown[] {
  return [...arrived.toReversed(), ...(Array.isArray(earlier) ? earlier : [])].slice(0, SHOWN_EVENTS);
}

import agents from "./operations/agents.graphql?raw";
import createSchedule from "./operations/create-schedule.graphql?raw";
import fireStatus from "./operations/fire-status.graphql?raw";
import schedules from "./operations/schedules.graphql?raw";

export interface Tab {
  query: string;
  variables?: string;
}

/** What a first visitor finds. `agentId` stands in the variables of the mutation, so that it can be run as it is. */
export function defaultTabs(agentId: string): Tab[] {
  return [
    { query: schedules },
    { query: agents },
    { query: createSchedule, variables: pretty({ input: exampleSchedule(agentId) }) },
    { query: fireStatus, variables: pretty({ after: null }) },
  ];
}

function exampleSchedule(agentId: string) {
  return {
    agentId,
    name: "from-the-playground",
    cadence: { interval: { everySeconds: 30 } },
    initialInput: { content: "Say hello." },
  };
}

function pretty(value: unknown): string {
  return JSON.stringify(value, null, 2);
}

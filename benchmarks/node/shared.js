// What the hand-written servers share: the SQL, a row in the schema's names, and the resolvers of one page and one row.
import { readFileSync } from "node:fs";
import { GraphQLScalarType } from "graphql";
import pg from "pg";

export const ACCOUNT = "bench";
export const port = Number(process.env.PORT);
export const typeDefs = readFileSync(new URL("../peers/schema.graphql", import.meta.url), "utf8");
export const pool = new pg.Pool({ connectionString: process.env.DATABASE_URL, max: 10 });

const COLUMNS = `
  s.id, s.name, s.description, s.paused, s.pause_note, s.version, s.start_at, s.end_at, s.created_at, s.updated_at,
  s.jitter_seconds, s.catch_up_window_seconds, s.retry_horizon_seconds, s.overlap_policy, s.missed_fire_policy,
  a.id AS agent_id, a.name AS agent_name, a.protocol AS agent_protocol, a.status AS agent_status
`;
const FROM = "agent_run_schedules s JOIN agents a ON a.id = s.agent_id";
// With a name, so that Postgres keeps the prepared statement.
const page = (limit) => ({
  name: "page",
  text: `SELECT ${COLUMNS} FROM ${FROM} WHERE s.account_id = '${ACCOUNT}' AND s.deleted_at IS NULL
    ORDER BY s.created_at DESC, s.id DESC LIMIT $1`,
  values: [limit],
});
const one = (id) => ({
  name: "one",
  text: `SELECT ${COLUMNS} FROM ${FROM} WHERE s.account_id = '${ACCOUNT}' AND s.id = $1`,
  values: [id],
});

const schedule = (row) => ({
  id: `Schedule:${row.id}`,
  name: row.name,
  description: row.description,
  paused: row.paused,
  pauseNote: row.pause_note,
  version: row.version,
  startAt: row.start_at,
  endAt: row.end_at,
  createdAt: row.created_at,
  updatedAt: row.updated_at,
  jitterSeconds: row.jitter_seconds,
  catchUpWindowSeconds: row.catch_up_window_seconds,
  retryHorizonSeconds: row.retry_horizon_seconds,
  overlapPolicy: row.overlap_policy,
  missedFirePolicy: row.missed_fire_policy,
  agent: {
    id: `Agent:${row.agent_id}`,
    name: row.agent_name,
    protocol: row.agent_protocol,
    status: row.agent_status,
  },
});

const cursor = (row) => {
  const place = `schedules.created_at- ${row.created_at.getTime()}000 ${row.id.replaceAll("-", "")}`;
  return Buffer.from(place).toString("base64url");
};

const DateTime = new GraphQLScalarType({
  name: "DateTime",
  serialize: (value) => value.toISOString().replace(".000Z", "Z"),
});

export const resolvers = {
  DateTime,
  Query: {
    async schedules(_parent, { first }) {
      const { rows } = await pool.query(page(first + 1));
      const edges = rows.slice(0, first).map((row) => ({ cursor: cursor(row), node: schedule(row) }));
      return { edges, pageInfo: { hasNextPage: rows.length > first, endCursor: edges.at(-1)?.cursor ?? null } };
    },
    async schedule(_parent, { by }) {
      const { rows } = await pool.query(one(by.id.split(":")[1]));
      return rows.length ? schedule(rows[0]) : null;
    },
  },
};

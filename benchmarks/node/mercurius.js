// Mercurius on Fastify; with the argument `jit`, graphql-jit compiles an operation at its second run.
import Fastify from "fastify";
import mercurius from "mercurius";
import { port, resolvers, typeDefs } from "./shared.js";

const app = Fastify();
app.register(mercurius, { schema: typeDefs, resolvers, jit: process.argv.includes("jit") ? 1 : 0 });
app.get("/healthz", async () => "alive");
await app.listen({ port, host: "127.0.0.1" });

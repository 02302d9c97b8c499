// GraphQL Yoga on Node's own HTTP server.
import { createServer } from "node:http";
import { createSchema, createYoga } from "graphql-yoga";
import { port, resolvers, typeDefs } from "./shared.js";

const yoga = createYoga({
  schema: createSchema({ typeDefs, resolvers }),
  healthCheckEndpoint: "/healthz",
  graphiql: false,
  logging: false,
});
createServer(yoga).listen(port, "127.0.0.1");

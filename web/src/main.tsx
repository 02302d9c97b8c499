import "graphiql/setup-workers/vite";
import "graphiql/style.css";
import "@graphiql/plugin-explorer/style.css";
import "./style.css";

import { StrictMode } from "react";
import { createRoot } from "react-dom/client";

import { firstLook } from "./fetcher";
import { linkedTab } from "./link";
import { Playground } from "./playground";
import { defaultTabs } from "./tabs";

const root = document.getElementById("root");
if (!root) {
  throw new Error("The page has no #root.");
}
const { agentId, asksForCredentials } = await firstLook();
const tabs = defaultTabs(agentId);
createRoot(root).render(
  <StrictMode>
    <Playground
      tabs={tabs}
      linked={linkedTab(new URL(location.href))}
      asksForCredentials={asksForCredentials}
    />
  </StrictMode>,
);

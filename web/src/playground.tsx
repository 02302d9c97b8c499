import { explorerPlugin } from "@graphiql/plugin-explorer";
import { GraphiQL } from "graphiql";

import { Adjustments } from "./adjustments";
import { CopyLinkButton } from "./copy-link-button";
import favicon from "./favicon.svg";
import { fetcher } from "./fetcher";
import { storage } from "./storage";
import type { Tab } from "./tabs";

const explorer = explorerPlugin({ showAttribution: false });
const plugins = [explorer];

/** What a visitor completes; GraphiQL sends it with the introspection too, and keeps it nowhere. */
const HEADERS_TO_COMPLETE = JSON.stringify({ Authorization: "Bearer " }, null, 2);

interface PlaygroundProps {
  tabs: Tab[];
  linked: Tab | undefined;
  asksForCredentials: boolean;
}

export function Playground({ tabs, linked, asksForCredentials }: PlaygroundProps) {
  return (
    <GraphiQL
      fetcher={fetcher}
      storage={storage}
      plugins={plugins}
      visiblePlugin={explorer}
      defaultTabs={linked ? [linked, ...tabs] : tabs}
      defaultEditorToolsVisibility={asksForCredentials ? "headers" : "variables"}
      {...(asksForCredentials && { defaultHeaders: HEADERS_TO_COMPLETE })}
      shouldPersistHeaders={false}
      schemaDescription
      inputValueDeprecation
      {...(linked && { initialQuery: linked.query, initialVariables: linked.variables ?? "" })}
    >
      <GraphiQL.Logo>
        <h1 className="nextfire-logo">
          <img src={favicon} alt="" width="20" height="20" />
          Nextfire
        </h1>
      </GraphiQL.Logo>
      <GraphiQL.Toolbar>
        {({ prettify, merge, copy }) => (
          <>
            {prettify}
            {merge}
            {copy}
            <CopyLinkButton />
          </>
        )}
      </GraphiQL.Toolbar>
      <Adjustments />
    </GraphiQL>
  );
}

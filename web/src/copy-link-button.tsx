import { ToolbarButton, useGraphiQL } from "@graphiql/react";
import { useState } from "react";

import { linkTo } from "./link";

export function CopyLinkButton() {
  const queryEditor = useGraphiQL((state) => state.queryEditor);
  const variableEditor = useGraphiQL((state) => state.variableEditor);
  const [copied, setCopied] = useState(false);

  async function copy() {
    const variables = variableEditor?.getValue();
    const tab = { query: queryEditor?.getValue() ?? "", ...(variables && { variables }) };
    await navigator.clipboard.writeText(linkTo(tab, new URL(location.href)));
    setCopied(true);
    setTimeout(() => setCopied(false), 2000);
  }

  return (
    <ToolbarButton label={copied ? "Copied" : "Copy a link to this operation"} onClick={copy}>
      <svg className="graphiql-toolbar-icon nextfire-link-icon" viewBox="0 0 24 24" aria-hidden="true">
        <path d="M10 14a4.5 4.5 0 0 0 6.4 0l3.2-3.200a4.5 4.5 0 0 0-6.4-6.400L12 5.6" />
        <path d="M14 10a4.5 4.5 0 0 0-6.4 0l-3.2 3.200a4.5 4.5 0 0 0 6.4 6.400l1.2-1.2" />
      </svg>
    </ToolbarButton>
  );
}

import { gzipSync } from "node:zlib";
import { defineConfig, type Plugin } from "vite";

export default defineConfig({
  // Relative addresses, so that a proxy may serve the API and its playground under any path.
  base: "./",
  plugins: [explorerWithoutFocus(), compressed()],
  build: {
    outDir: "../nextfire/playground",
    emptyOutDir: true,
    target: "es2022",
    // The content security policy lets no script come from a data: address.
    assetsInlineLimit: 0,
    license: { fileName: "licenses.md" },
    reportCompressedSize: false,
    chunkSizeWarningLimit: 2000,
    rolldownOptions: {
      // "use client" in libraries means nothing here.
      onLog: (level, log, handle) => log.code === "MODULE_LEVEL_DIRECTIVE" || handle(level, log),
    },
  },
  worker: { format: "es" },
  server: { proxy: { "/graphql": { target: "http://127.0.0.1:8000", ws: true } } },
});

const TAKES_FOCUS = /input\.focus\(\);\s*input\.setSelectionRange\(0, input\.value\.length\);/;

/**
 * graphiql-explorer moves the focus into each argument that it shows, so at every change of tab, and with the
 * focus the scroll position. The person's focus stays where it is.
 */
function explorerWithoutFocus(): Plugin {
  return {
    name: "nextfire:explorer-without-focus",
    transform: {
      filter: { id: /graphiql-explorer\/dist\/Explorer\.js$/ },
      handler(code) {
        if (!TAKES_FOCUS.test(code)) {
          throw new Error("graphiql-explorer has changed: see whether it still takes the focus.");
        }
        return { code: code.replace(TAKES_FOCUS, ""), map: null };
      },
    },
  };
}

/** Puts `name.gz` beside each asset that gains by it: 7 MB become 2 MB, and the server spends no time on it. */
function compressed(): Plugin {
  return {
    name: "nextfire:compressed",
    apply: "build",
    generateBundle: {
      order: "post",
      handler(_options, bundle) {
        for (const file of Object.values(bundle)) {
          const content = Buffer.from(file.type === "chunk" ? file.code : file.source);
          const packed = gzipSync(content, { level: 9 });
          if (file.fileName.startsWith("assets/") && packed.length < content.length * 0.9) {
            this.emitFile({ type: "asset", fileName: `${file.fileName}.gz`, source: packed });
          }
        }
      },
    },
  };
}

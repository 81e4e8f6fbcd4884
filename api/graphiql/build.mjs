// Write GraphiQL's files to assets/, each also compressed, as the gateway serves them.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";
import * as graphiql from "./node_modules/@graphql-yoga/render-graphiql/esm/graphiql.js";

const FILES = {
  "graphiql.js": graphiql.js,
  "graphiql.css": graphiql.css,
  "editor.worker.js": graphiql.editorWorkerService,
  "json.worker.js": graphiql.jsonWorker,
  "graphql.worker.js": graphiql.graphqlWorker,
};
const folder = new URL("assets/", import.meta.url);
rmSync(folder, { recursive: true, force: true });
mkdirSync(folder);
for (const [name, text] of Object.entries(FILES)) {
  writeFileSync(new URL(name, folder), text);
  writeFileSync(new URL(`${name}.gz`, folder), gzipSync(text, { level: 9 }));
}

// The editor's workers, which it asks for by label.
const WORKERS = {
  editorWorkerService: "/graphiql/editor.worker.js",
  json: "/graphiql/json.worker.js",
  graphql: "/graphiql/graphql.worker.js",
};
self.MonacoEnvironment = {
  globalAPI: false,
  getWorkerUrl: (_module, label) => WORKERS[label] ?? WORKERS.editorWorkerService,
};

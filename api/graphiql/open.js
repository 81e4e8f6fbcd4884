// Open GraphiQL on this gateway.
YogaGraphiQL.renderYogaGraphiQL(document.querySelector("#root"), {
  title: "Killstream",
  endpoint: "/graphql",
  subscriptionsProtocol: "WS",
  credentials: "same-origin",
  defaultQuery: `# Each new killmail, as soon as it is stored.
subscription OnNewKillmail {
  killmailAdded {
    killmailId
    killmailTime
    victim { characterName shipTypeName }
  }
}
`,
});

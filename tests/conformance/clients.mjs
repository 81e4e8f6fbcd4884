// Ask a gateway with the clients that dashboards use, as they are; print what each was given.
import { ApolloClient, HttpLink, InMemoryCache, gql } from "@apollo/client/core";
import { Client, cacheExchange, fetchExchange } from "@urql/core";
import { createClient } from "graphql-ws";

const url = process.argv[2];
const document = "query Newest { killmails(first: 1) { nodes { killmailId } } }";
const live = "subscription { killmailAdded(after: 0) { killmailId } }";

async function apollo() {
  const link = new HttpLink({ uri: url });
  const client = new ApolloClient({ link, cache: new InMemoryCache() });
  const wrong = await client.query({ query: gql`{ nothing }` }).catch((error) => error);
  return [(await client.query({ query: gql(document) })).data, wrong.errors?.[0].extensions.code];
}

async function urql() {
  const client = new Client({ url, exchanges: [cacheExchange, fetchExchange] });
  const wrong = await client.query("{ nothing }", {}).toPromise();
  const { data } = await client.query(document, {}).toPromise();
  return [data, wrong.error?.graphQLErrors[0].extensions.code];
}

async function graphqlWs() {
  const client = createClient({ url: url.replace("http", "ws") });
  const wrong = await first(client, "{ nothing }").catch((errors) => errors);
  return [await first(client, live), wrong[0].extensions.code];
}

function first(client, query) {
  return new Promise((resolve, reject) => {
    const end = client.subscribe(
      { query },
      { next: (result) => (resolve(result.data), setTimeout(() => end())), error: reject, complete() {} },
    );
  });
}

console.log(
  JSON.stringify({ apollo: await apollo(), urql: await urql(), "graphql-ws": await graphqlWs() }),
);
process.exit(0);

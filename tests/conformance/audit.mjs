// Run graphql-http's audits against a server; print the results that aren't "ok", and how many are.
import { auditServer } from "graphql-http";

const results = await auditServer({ url: process.argv[2] });
const others = results.filter((result) => result.status !== "ok");
console.log(
  JSON.stringify({
    ok: results.length - others.length,
    others: others.map(({ id, name, status, reason }) => ({ id, name, status, reason })),
  }),
);
process.exit(0);

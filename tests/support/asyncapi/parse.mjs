// Parse the AsyncAPI document of the first argument; print the diagnostics as JSON.
import { readFileSync } from "node:fs";
import { Parser } from "@asyncapi/parser";

const { document, diagnostics } = await new Parser().parse(readFileSync(process.argv[2], "utf8"));
const found = diagnostics.map(({ code, severity, message, path }) => ({
  code,
  severity,
  message,
  path: path.join("."),
}));
console.log(JSON.stringify({ parsed: document !== undefined, diagnostics: found }));

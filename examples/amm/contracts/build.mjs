// Writes each contract's runtime bytecode, its functions' selectors and its source's SHA-256 to contracts.json:
//
//     npm install --no-save --prefix out/solc solc@0.8.30
//     NODE_PATH=out/solc/node_modules node examples/amm/contracts/build.mjs
import { createHash } from "node:crypto";
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";

const solc = createRequire(import.meta.url)("solc");
const names = ["Token", "Pool"];
const folder = new URL(".", import.meta.url);
const sources = Object.fromEntries(
  names.map((name) => [`${name}.sol`, { content: readFileSync(new URL(`${name}.sol`, folder), "utf8") }]),
);
const settings = {
  evmVersion: "prague",
  optimizer: { enabled: true, runs: 200 },
  metadata: { appendCBOR: false },
  outputSelection: { "*": { "*": ["evm.deployedBytecode.object", "evm.methodIdentifiers"] } },
};
const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
const errors = (output.errors ?? []).filter((error) => error.severity === "error");
if (errors.length) throw new Error(errors.map((error) => error.formattedMessage).join("\n"));
const built = { compiler: solc.version() };
for (const name of names) {
  const { deployedBytecode, methodIdentifiers } = output.contracts[`${name}.sol`][name].evm;
  const source = createHash("sha256").update(sources[`${name}.sol`].content).digest("hex");
  built[name] = { source, code: deployedBytecode.object, selectors: methodIdentifiers };
}
writeFileSync(new URL("contracts.json", folder), JSON.stringify(built, null, 1) + "\n");

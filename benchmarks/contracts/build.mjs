// Writes the runtime bytecode of each contract to contracts.json, for benchmarks/fills.py:
//
//     npm install --no-save --prefix out/solc solc@0.8.30
//     NODE_PATH=out/solc/node_modules node benchmarks/contracts/build.mjs
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";

const solc = createRequire(import.meta.url)("solc");
const names = ["Token", "Pool", "Pair"];
const folder = new URL(".", import.meta.url);
const sources = Object.fromEntries(
  names.map((name) => [`${name}.sol`, { content: readFileSync(new URL(`${name}.sol`, folder), "utf8") }]),
);
const settings = {
  evmVersion: "shanghai",
  optimizer: { enabled: true, runs: 200 },
  metadata: { appendCBOR: false },
  outputSelection: { "*": { "*": ["evm.deployedBytecode.object"] } },
};
const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
const errors = (output.errors ?? []).filter((error) => error.severity === "error");
if (errors.length) throw new Error(errors.map((error) => error.formattedMessage).join("\n"));
const code = (name) => output.contracts[`${name}.sol`][name].evm.deployedBytecode.object;
const built = { compiler: solc.version(), ...Object.fromEntries(names.map((name) => [name, code(name)])) };
writeFileSync(new URL("contracts.json", folder), JSON.stringify(built, null, 1) + "\n");

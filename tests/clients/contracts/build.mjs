// Writes ABI and creation bytecode of each contract of Probe.sol to contracts.json, for the tests of clients:
//
//     npm install --no-save --prefix out/solc solc@0.8.30
//     NODE_PATH=out/solc/node_modules node tests/clients/contracts/build.mjs
import { createRequire } from "node:module";
import { readFileSync, writeFileSync } from "node:fs";

const solc = createRequire(import.meta.url)("solc");
const folder = new URL(".", import.meta.url);
const sources = { "Probe.sol": { content: readFileSync(new URL("Probe.sol", folder), "utf8") } };
const settings = {
    evmVersion: "shanghai",
    optimizer: { enabled: true, runs: 200 },
    metadata: { appendCBOR: false },
    outputSelection: { "*": { "*": ["abi", "evm.bytecode.object"] } },
};
const output = JSON.parse(solc.compile(JSON.stringify({ language: "Solidity", sources, settings })));
const errors = (output.errors ?? []).filter((error) => error.severity === "error");
if (errors.length) throw new Error(errors.map((error) => error.formattedMessage).join("\n"));
const built = Object.entries(output.contracts["Probe.sol"]).map(([name, contract]) => [
    name,
    { abi: contract.abi, bytecode: "0x" + contract.evm.bytecode.object },
]);
const text = JSON.stringify({ compiler: solc.version(), ...Object.fromEntries(built) }, null, 1);
writeFileSync(new URL("contracts.json", folder), text + "\n");

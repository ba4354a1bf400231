// What programs do with viem, against a running node. Prints one line of JSON for each step: {"step": ..., ...}.
// Usage: node viem.mjs <http url> <websocket url> <contracts.json> <key of a rich account> <key of another>
import { readFileSync } from "node:fs";
import {
    BaseError, ContractFunctionRevertedError, createPublicClient, createTestClient, createWalletClient, defineChain,
    encodeFunctionData, http, parseEther, parseEventLogs, verifyTypedData, webSocket,
} from "viem";
import { privateKeyToAccount } from "viem/accounts";

const [url, wsUrl, contractsFile, key, otherKey] = process.argv.slice(2);
const { Probe, Multicall } = JSON.parse(readFileSync(contractsFile, "utf8"));
const plain = (_, value) => (typeof value === "bigint" ? value.toString() : value);
const tell = (step, values) => console.log(JSON.stringify({ step, ...values }, plain));
const nobody = "0x" + "77".repeat(20);

const chain = defineChain({
    id: 31337, name: "Manaflow", nativeCurrency: { name: "Ether", symbol: "ETH", decimals: 18 },
    rpcUrls: { default: { http: [url], webSocket: [wsUrl] } },
});
const account = privateKeyToAccount(key);
const other = privateKeyToAccount(otherKey);
const reader = createPublicClient({ chain, transport: http(), pollingInterval: 50, cacheTime: 0 });
const wallet = createWalletClient({ chain, account, transport: http() });
const otherWallet = createWalletClient({ chain, account: other, transport: http() });
const wait = (hash) => reader.waitForTransactionReceipt({ hash });

async function failure(promise) {
    try {
        await promise;
    } catch (error) {
        const reverted = error instanceof BaseError ? error.walk((one) => one instanceof ContractFunctionRevertedError) : null;
        const names = [];
        for (let one = error; one; one = one.cause) names.push(one.name);
        return { names, details: error.details ?? null, reason: reverted?.reason ?? null, error: reverted?.data?.errorName ?? null, args: reverted?.data?.args ?? null };
    }
    throw new Error("it did not fail");
}

const fees = await reader.estimateFeesPerGas();
tell("network", { chainId: await reader.getChainId(), fees: fees.maxFeePerGas > fees.maxPriorityFeePerGas });

const [declared] = (await reader.getBlock({ blockNumber: 1n, includeTransactions: true })).transactions;
tell("declared", {
    type: declared.typeHex, value: declared.value, from: declared.from, moves: declared.moves.length,
    same: (await reader.getTransaction({ hash: declared.hash })).hash === declared.hash,
    receipt: (await reader.getTransactionReceipt({ hash: declared.hash })).status,
});

const transferred = await wait(await wallet.sendTransaction({ to: nobody, value: parseEther("0.5") }));
const found = await reader.getTransaction({ hash: transferred.transactionHash });
tell("transfer", {
    status: transferred.status, gasUsed: transferred.gasUsed, type: found.type, from: found.from === account.address.toLowerCase(),
    balance: await reader.getBalance({ address: nobody }), sameBlock: found.blockHash === transferred.blockHash,
});

const deployed = await wait(await wallet.deployContract({ abi: Probe.abi, bytecode: Probe.bytecode, args: [7n] }));
const probe = { address: deployed.contractAddress, abi: Probe.abi };
const read = (functionName, args = []) => reader.readContract({ ...probe, functionName, args });
const write = (functionName, args = [], more = {}) => wallet.writeContract({ ...probe, functionName, args, ...more });
tell("deploy", { value: await read("value"), sum: await read("add", [3n, 4n]), code: (await reader.getCode(probe)).length > 2 });

const stored = await wait(await write("store", [9n, "nine"]));
const [event] = parseEventLogs({ abi: Probe.abi, logs: stored.logs });
const queried = await reader.getContractEvents({ ...probe, eventName: "Stored", fromBlock: stored.blockNumber });
tell("event", {
    name: event.eventName, by: event.args.by === account.address, value: event.args.value, note: event.args.note,
    index: event.logIndex, queried: queried.length,
});

tell("reason", await failure(reader.simulateContract({ ...probe, functionName: "failWithReason", account })));
tell("custom error", await failure(reader.simulateContract({ ...probe, functionName: "failWithError", args: [5n], account })));
tell("panic", await failure(read("add", [2n ** 256n - 1n, 1n])));
const failed = await wait(await write("failWithReason", [], { gas: 100000n }));
tell("reverted", { status: failed.status });
tell("estimate of a revert", await failure(write("failWithReason")));
tell("funds", await failure(wallet.sendTransaction({ to: nobody, value: parseEther("1000000") })));
const nonce = await reader.getTransactionCount({ address: account.address, blockTag: "pending" });
tell("nonce", await failure(wallet.sendTransaction({ to: nobody, nonce: nonce - 1, gas: 21000n })));
const slot = "0x" + "00".repeat(32);
tell("override", {
    value: await reader.readContract({
        ...probe, functionName: "value",
        stateOverride: [{ address: probe.address, stateDiff: [{ slot, value: "0x" + "00".repeat(31) + "4d" }] }],
    }),
});

const types = [];
const accessList = [{ address: probe.address, storageKeys: [slot] }];
for (const fields of [{ type: "legacy" }, { type: "eip2930", accessList }, { type: "eip1559" }]) {
    const receipt = await wait(await otherWallet.sendTransaction({ to: nobody, value: 1n, gas: 60000n, ...fields }));
    types.push([receipt.type, receipt.status]);
}
tell("types", { types });

const authorization = await otherWallet.signAuthorization({ contractAddress: probe.address });
const delegated = await wait(await wallet.sendTransaction({ to: nobody, authorizationList: [authorization], gas: 200000n }));
tell("delegation", {
    type: delegated.type, status: delegated.status, code: await reader.getCode({ address: other.address }), address: probe.address,
});

const next = await reader.getTransactionCount({ address: other.address, blockTag: "pending" });
const paying = (gwei) => ({ to: nobody, gas: 21000n, maxFeePerGas: gwei * 10n ** 9n, maxPriorityFeePerGas: gwei * 10n ** 9n });
const ahead = await otherWallet.sendTransaction({ nonce: next + 1, value: 1n, ...paying(10n) });
const waits = (await reader.getTransaction({ hash: ahead })).blockNumber === null;
let replaced = null;
const told = reader.waitForTransactionReceipt({ hash: ahead, onReplaced: (found) => { replaced = found; } });
await new Promise((done) => setTimeout(done, 300));
const cheap = await failure(otherWallet.sendTransaction({ nonce: next + 1, value: 2n, ...paying(10n) }));
const better = await otherWallet.sendTransaction({ nonce: next + 1, value: 2n, ...paying(20n) });
await wait(await otherWallet.sendTransaction({ nonce: next, value: 1n, ...paying(10n) }));
tell("gap and replacement", {
    waits, cheap: cheap.details.split(":")[0], status: (await wait(better)).status, receipt: (await told).transactionHash === better,
    reason: replaced?.reason, by: replaced?.transaction.hash === better,
    nonces: (await reader.getTransactionCount({ address: other.address })) - next,
});

const filter = await reader.createContractEventFilter({ ...probe, eventName: "Stored" });
await wait(await write("storeTwice", [2n]));
const changes = [await reader.getFilterChanges({ filter }), await reader.getFilterChanges({ filter })];
tell("filter", { changes: changes.map((logs) => logs.map((log) => log.args.note)), removed: await reader.uninstallFilter({ filter }) });

const multicall = await wait(await wallet.deployContract({ abi: Multicall.abi, bytecode: Multicall.bytecode }));
const calls = [1n, 2n, 3n].map((n) => ({
    target: probe.address, callData: encodeFunctionData({ abi: Probe.abi, functionName: "add", args: [n, n] }),
}));
const { result } = await reader.simulateContract({
    address: multicall.contractAddress, abi: Multicall.abi, functionName: "aggregate", args: [calls],
});
tell("multicall", { isHead: result[0] === (await reader.getBlockNumber()), sums: result[1].map((one) => BigInt(one)) });

const typed = {
    domain: { name: "Post", chainId: 31337 }, primaryType: "Mail",
    types: { Mail: [{ name: "to", type: "address" }, { name: "contents", type: "string" }] },
    message: { to: nobody, contents: "hello" },
};
const remote = createWalletClient({ chain, transport: http() });
const [first] = await remote.getAddresses();
const signature = await remote.signTypedData({ account: first, ...typed });
tell("typed data", { signer: await verifyTypedData({ address: first, signature, ...typed }) });

const history = await reader.getFeeHistory({ blockCount: 3, rewardPercentiles: [10, 90] });
tell("fees", { rewards: history.reward.length, prices: history.baseFeePerGas.length });
const block = await reader.getBlock({ includeTransactions: true });
tell("block", { transactions: block.transactions.length, stateRoot: block.stateRoot, finalized: (await reader.getBlock({ blockTag: "finalized" })).number });

const tests = createTestClient({ chain, mode: "anvil", transport: http() });
const before = await reader.getBlockNumber();
await tests.mine({ blocks: 2 });
await tests.increaseTime({ seconds: 100 });
tell("mining", { mined: (await reader.getBlockNumber()) - before });

const socket = createPublicClient({ chain, transport: webSocket(wsUrl) });
const heard = { blocks: 0, logs: 0, pending: 0 };
const stops = [
    socket.watchBlocks({ onBlock: () => { heard.blocks += 1; } }),
    socket.watchPendingTransactions({ onTransactions: (hashes) => { heard.pending += hashes.length; } }),
    socket.watchContractEvent({ ...probe, eventName: "Stored", onLogs: (logs) => { heard.logs += logs.length; } }),
];
await new Promise((done) => setTimeout(done, 500));
await wait(await write("storeTwice", [1n]));
for (let i = 0; i < 100 && (heard.blocks < 1 || heard.logs < 2 || heard.pending < 1); i++) {
    await new Promise((done) => setTimeout(done, 50));
}
tell("subscriptions", { ...heard });
stops.forEach((stop) => stop());
await new Promise((done) => setTimeout(done, 200));
const counted = JSON.stringify(heard);
await wait(await write("storeTwice", [2n]));
await socket.getBlockNumber();
const [, left] = (await (await fetch(url + "/metrics")).text()).match(/^manaflow_subscriptions (\S+)$/m);
tell("unsubscribed", { silent: JSON.stringify(heard) === counted, left: Number(left) });
process.exit(0);

// What programs do with ethers, against a running node. Prints one line of JSON for each step: {"step": ..., ...}.
// Usage: node ethers.mjs <http url> <websocket url> <contracts.json> <key of a rich account> <key of another>
import { readFileSync } from "node:fs";
import {
    AbiCoder, Contract, ContractFactory, JsonRpcProvider, Wallet, WebSocketProvider, parseEther, verifyTypedData,
} from "ethers";

const [url, wsUrl, contractsFile, key, otherKey] = process.argv.slice(2);
const contracts = JSON.parse(readFileSync(contractsFile, "utf8"));
const plain = (_, value) => (typeof value === "bigint" ? value.toString() : value);
const tell = (step, values) => console.log(JSON.stringify({ step, ...values }, plain));
const nobody = "0x" + "77".repeat(20);

async function failure(promise) {
    try {
        await promise;
    } catch (error) {
        return { code: error.code, reason: error.reason ?? null, revert: error.revert ?? null, data: error.data ?? null, replacement: error.replacement?.hash ?? null };
    }
    throw new Error("it did not fail");
}

const provider = new JsonRpcProvider(url, undefined, { cacheTimeout: -1, pollingInterval: 50 });
const wallet = new Wallet(key, provider);
const other = new Wallet(otherKey, provider);

const network = await provider.getNetwork();
const feeData = await provider.getFeeData();
tell("network", { chainId: network.chainId, type: feeData.maxFeePerGas === null ? "legacy" : "eip1559" });

const [declared] = (await provider.getBlock(1, true)).prefetchedTransactions;
tell("declared", {
    type: declared.type, value: declared.value, from: declared.from,
    same: (await provider.getTransaction(declared.hash)).hash === declared.hash,
    receipt: (await provider.getTransactionReceipt(declared.hash)).type,
});

const transfer = await wallet.sendTransaction({ to: nobody, value: parseEther("0.5") });
const transferred = await transfer.wait();
const found = await provider.getTransaction(transfer.hash);
tell("transfer", {
    status: transferred.status, gasUsed: transferred.gasUsed, type: found.type, from: found.from,
    balance: await provider.getBalance(nobody), sameBlock: found.blockHash === transferred.blockHash,
});

const factory = new ContractFactory(contracts.Probe.abi, contracts.Probe.bytecode, wallet);
const probe = await (await factory.deploy(7n)).waitForDeployment();
const address = await probe.getAddress();
tell("deploy", { value: await probe.value(), sum: await probe.add(3n, 4n), code: (await provider.getCode(address)).length > 2 });

const stored = await (await probe.store(9n, "nine")).wait();
const [event] = stored.logs.map((log) => probe.interface.parseLog(log));
tell("event", {
    name: event.name, by: event.args.by === wallet.address, value: event.args.value, note: event.args.note,
    index: stored.logs[0].index, queried: (await probe.queryFilter("Stored", stored.blockNumber)).length,
});

tell("reason", await failure(probe.failWithReason()));
tell("custom error", await failure(probe.failWithError(5n)));
tell("panic", await failure(probe.add(2n ** 256n - 1n, 1n)));
tell("reverted", await failure((await probe.failWithReason.send({ gasLimit: 100000n })).wait()));
tell("estimate of a revert", await failure(probe.failWithReason.estimateGas()));
tell("funds", await failure(wallet.sendTransaction({ to: nobody, value: parseEther("1000000") })));

const nonce = await wallet.getNonce("pending");
tell("nonce", await failure(wallet.sendTransaction({ to: nobody, nonce: nonce - 1, gasLimit: 21000n })));
const types = [];
for (const fields of [{ type: 0 }, { type: 1, accessList: [{ address, storageKeys: ["0x" + "00".repeat(32)] }] }, { type: 2 }]) {
    const sent = await other.sendTransaction({ to: nobody, value: 1n, gasLimit: 60000n, ...fields });
    const receipt = await sent.wait();
    const seen = await provider.getTransaction(sent.hash);
    types.push([receipt.type, receipt.status, seen.accessList?.length ?? null]);
}
tell("types", { types });

const authorization = await other.authorize({ address, nonce: await other.getNonce() });
const delegating = await wallet.sendTransaction({ type: 4, to: nobody, authorizationList: [authorization], gasLimit: 200000n });
const delegated = await delegating.wait();
tell("delegation", {
    type: delegated.type, status: delegated.status, code: await provider.getCode(other.address), address,
});

const next = await other.getNonce("pending");
const paying = (gwei) => ({ to: nobody, gasLimit: 21000n, maxFeePerGas: gwei * 10n ** 9n, maxPriorityFeePerGas: gwei * 10n ** 9n });
const ahead = await other.sendTransaction({ nonce: next + 1, value: 1n, ...paying(10n) });
const waits = (await provider.getTransaction(ahead.hash)).blockNumber === null;
const told = failure(ahead.wait());
const cheap = await failure(other.sendTransaction({ nonce: next + 1, value: 2n, ...paying(10n) }));
const better = await other.sendTransaction({ nonce: next + 1, value: 2n, ...paying(20n) });
await (await other.sendTransaction({ nonce: next, value: 1n, ...paying(10n) })).wait();
tell("gap and replacement", {
    waits, cheap: cheap.code, status: (await better.wait()).status, replaced: (await told).code,
    by: (await told).replacement === better.hash, nonces: (await other.getNonce()) - next, gone: await provider.getTransaction(ahead.hash),
});

const polled = { logs: 0 };
await probe.on("Stored", () => { polled.logs += 1; });
await provider.getBlockNumber();
await new Promise((done) => setTimeout(done, 200));
await (await probe.storeTwice(2n)).wait();
for (let i = 0; i < 100 && polled.logs < 2; i++) await new Promise((done) => setTimeout(done, 50));
await probe.removeAllListeners();
tell("polled", polled);

const multicall = await (await new ContractFactory(contracts.Multicall.abi, contracts.Multicall.bytecode, wallet).deploy())
    .waitForDeployment();
const calls = [1n, 2n, 3n].map((n) => [address, probe.interface.encodeFunctionData("add", [n, n])]);
const [number, returned] = await multicall.aggregate.staticCall(calls);
tell("multicall", {
    isHead: Number(number) === (await provider.getBlockNumber()),
    sums: returned.map((one) => AbiCoder.defaultAbiCoder().decode(["uint256"], one)[0]),
});

const domain = { name: "Post", chainId: network.chainId };
const mail = { Mail: [{ name: "to", type: "address" }, { name: "contents", type: "string" }] };
const message = { to: nobody, contents: "hello" };
const signer = await provider.getSigner(0);
const signature = await signer.signTypedData(domain, mail, message);
tell("typed data", { signer: verifyTypedData(domain, mail, message, signature) === signer.address });

const block = await provider.getBlock("latest", true);
tell("block", {
    transactions: block.prefetchedTransactions.map((one) => one.hash === one.hash.toLowerCase()),
    fields: [block.stateRoot, block.receiptsRoot], finalized: (await provider.getBlock("finalized")).number,
    receipts: (await provider.send("eth_getBlockReceipts", ["latest"])).length,
});

const socket = new WebSocketProvider(wsUrl);
const heard = { blocks: 0, logs: 0, pending: 0 };
await socket.on("block", () => { heard.blocks += 1; });
await socket.on("pending", () => { heard.pending += 1; });
await new Contract(address, contracts.Probe.abi, socket).on("Stored", () => { heard.logs += 1; });
await (await probe.storeTwice(1n)).wait();
for (let i = 0; i < 100 && (heard.blocks < 1 || heard.logs < 2 || heard.pending < 1); i++) {
    await new Promise((done) => setTimeout(done, 50));
}
tell("subscriptions", { ...heard });
await socket.removeAllListeners();
await new Promise((done) => setTimeout(done, 200));
const before = JSON.stringify(heard);
await (await probe.storeTwice(2n)).wait();
await socket.getBlockNumber();
const [, left] = (await (await fetch(url + "/metrics")).text()).match(/^manaflow_subscriptions (\S+)$/m);
tell("unsubscribed", { silent: JSON.stringify(heard) === before, left: Number(left) });
await socket.destroy();
provider.destroy();

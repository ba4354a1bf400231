// Signs the typed data of every vector of declared transactions with ethers, and prints for each, as one line of JSON:
// its name, the domain's hash, the hash that is signed, the signature (r, s, v) and the address that it recovers to.
// Usage: node declared.mjs <folder of the vectors>
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { Wallet, TypedDataEncoder, Signature, verifyTypedData } from "ethers";

const folder = process.argv[2];
const read = (name) => JSON.parse(readFileSync(join(folder, name), "utf8"));
const { types: allTypes, primaryType } = read("types.json");
const { EIP712Domain: _, ...types } = allTypes; // ethers derives the domain's type from its fields
const encoder = TypedDataEncoder.from(types);
if (encoder.primaryType !== primaryType) throw new Error(`primary type ${encoder.primaryType}`);

for (const { name, key, domain, message } of read("valid.json")) {
    const signature = Signature.from(await new Wallet(key).signTypedData(domain, types, message));
    console.log(JSON.stringify({
        name,
        domain: TypedDataEncoder.hashDomain(domain),
        hash: TypedDataEncoder.hash(domain, types, message),
        signature: signature.serialized,
        sender: verifyTypedData(domain, types, message, signature).toLowerCase(),
        encodedType: encoder.encodeType(primaryType),
    }));
}

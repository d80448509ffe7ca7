// The library that npm verifies with, asked one line at a time.
"use strict";
const { Verifier, toSignedEntity } = require("@sigstore/verify");
const { bundleFromJSON, bundleToJSON, toDSSEBundle, toMessageSignatureBundle } = require("@sigstore/bundle");
const crypto = require("crypto");

// Our own keys and nothing else: no authority, no log.
const THRESHOLDS = { tlogThreshold: 0, ctlogThreshold: 0, timestampThreshold: 0 };

function verify({ bundle, artifact, key }) {
  const publicKey = crypto.createPublicKey(key);
  const trust = { certificateAuthorities: [], timestampAuthorities: [], tlogs: [], ctlogs: [] };
  trust.publicKey = () => ({ publicKey, validFor: () => true });
  const entity = toSignedEntity(bundleFromJSON(JSON.parse(bundle)), Buffer.from(artifact, "base64"));
  new Verifier(trust, THRESHOLDS).verify(entity);
}

function sign({ artifact, payload, key }) {
  const data = Buffer.from(artifact, "base64");
  const type = "application/vnd.in-toto+json";
  const statement = payload && Buffer.from(payload);
  const pae = statement && Buffer.concat([Buffer.from(`DSSEv1 ${type.length} ${type} ${statement.length} `), statement]);
  const privateKey = crypto.createPrivateKey(key);
  const hash = privateKey.asymmetricKeyType === "ed25519" ? undefined : "sha256";
  const signature = crypto.sign(hash, statement ? pae : data, privateKey);
  const digest = crypto.createHash("sha256").update(data).digest();
  const bundle = statement
    ? toDSSEBundle({ artifact: statement, artifactType: type, signature, keyHint: "the key" })
    : toMessageSignatureBundle({ digest, signature, keyHint: "the key" });
  return JSON.stringify(bundleToJSON(bundle));
}

require("readline").createInterface({ input: process.stdin }).on("line", (line) => {
  let answer;
  try {
    const asked = JSON.parse(line);
    answer = asked.op === "sign" ? { bundle: sign(asked) } : (verify(asked), { valid: true });
  } catch (error) {
    answer = { valid: false, why: String(error.message) };
  }
  process.stdout.write(JSON.stringify(answer) + "\n");
});

// npm's library makes a bundle with a statement about a file: key, file, bundle.
"use strict";
const { bundleToJSON, toDSSEBundle } = require("@sigstore/bundle");
const crypto = require("crypto");
const fs = require("fs");
const [, , key, file, to] = process.argv;
const artifactType = "application/vnd.in-toto+json";
const sha256 = crypto.createHash("sha256").update(fs.readFileSync(file)).digest("hex");
const artifact = Buffer.from(
  JSON.stringify({
    _type: "https://in-toto.io/Statement/v1",
    subject: [{ digest: { sha256 } }],
    predicateType: "https://sigstore.dev/cosign/sign/v1",
    predicate: {},
  }),
);
const head = Buffer.from(`DSSEv1 ${artifactType.length} ${artifactType} ${artifact.length} `);
const signature = crypto.sign("sha256", Buffer.concat([head, artifact]), fs.readFileSync(key));
fs.writeFileSync(to, JSON.stringify(bundleToJSON(toDSSEBundle({ artifact, artifactType, signature, keyHint: "key" }))));

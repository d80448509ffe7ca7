//! Has a file signed by a service, with the typed client alone.
//!
//! ```text
//! export FIRMSEAL_SERVER=https://localhost:8443
//! export FIRMSEAL_AUTHORITY=firmseal/tls/server.pem
//! export FIRMSEAL_TOKEN=$(cat firmseal/operator.token)
//! cargo run -p firmseal-api --example sign -- firmware.bin gateway 1.0.0
//! ```
//!
//! It uploads in one piece and asks twice; `firmseal sign` does this with
//! uploads that resume, waits for people, and checks the signature.

use std::error::Error;
use std::time::Duration;

use firmseal_api::client::Client;
use firmseal_api::registry::CreateUpload;
use firmseal_api::signatures::{CreateSignature, Priority, SignatureState};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::ArtifactId;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [file, product, version] = arguments.as_slice() else {
        return Err("usage: sign FILE PRODUCT VERSION".into());
    };
    let authority = std::fs::read(std::env::var("FIRMSEAL_AUTHORITY")?)?;
    let client = Client::builder(&std::env::var("FIRMSEAL_SERVER")?)
        .authorities(&authority)
        .token(std::env::var("FIRMSEAL_TOKEN")?.trim())
        .build()?;
    let bytes = std::fs::read(file)?;
    let artifact = ArtifactId(RustCrypto.digest(&bytes));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let service = client.operator();
        if service.artifact(artifact).await.is_err() {
            let wish = CreateUpload { size: bytes.len() as u64, sha256: artifact };
            let upload = service.create_upload(&wish).await?;
            service.append(upload.id, 0, bytes.into()).await?;
            service.complete(upload.id).await?;
        }
        let wish = CreateSignature {
            product: product.parse()?,
            channel: "stable".parse()?,
            artifact,
            key: None,
            version: version.parse()?,
            epoch: 0,
            parameters: Default::default(),
            build: "example".to_owned(),
            commit: "example".to_owned(),
            evidence: Vec::new(),
            priority: Priority::Release,
            deadline_seconds: None,
        };
        // The same key with the same wish is the same request, so asking again
        // after a lost answer is always safe.
        let key = format!("example-{artifact}-{version}");
        let mut request = service.create_signature(&key, &wish, Duration::from_secs(20)).await?;
        if request.state == SignatureState::Queued {
            request = service.signature(request.id, Duration::from_secs(20)).await?;
        }
        match (&request.state, &request.signature) {
            (SignatureState::Signed, Some(signature)) => {
                println!("{}", serde_json::to_string_pretty(signature)?);
                Ok(())
            }
            (state, _) => Err(format!("{} is {state:?}: {:?}", request.id, request.reasons).into()),
        }
    })
}

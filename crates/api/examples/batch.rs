//! Has several files signed in one request, with the typed client alone, and
//! waits while people have to agree.
//!
//! ```text
//! export FIRMSEAL_SERVER=https://localhost:8443
//! export FIRMSEAL_AUTHORITY=firmseal/tls/server.pem
//! export FIRMSEAL_TOKEN=$(cat firmseal/operator.token)
//! cargo run -p firmseal-api --example batch -- gateway 1.0.0 boot.bin application.bin
//! ```
//!
//! Each file is signed or refused by itself; one line of JSON says what came
//! of it.

use std::error::Error;
use std::time::Duration;

use firmseal_api::client::{Client, OperatorClient};
use firmseal_api::registry::CreateUpload;
use firmseal_api::signatures::{
    CreateSignature, Priority, SignatureAnswer, SignatureRequest, SignatureState,
};
use firmseal_core::crypto::{Crypto, RustCrypto};
use firmseal_manifest::ArtifactId;

/// Longest that one answer is waited for, and how many answers.
const PATIENCE: Duration = Duration::from_secs(20);
const ANSWERS: usize = 30;

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [product, version, files @ ..] = arguments.as_slice() else {
        return Err("usage: batch PRODUCT VERSION FILE...".into());
    };
    let authority = std::fs::read(std::env::var("FIRMSEAL_AUTHORITY")?)?;
    let client = Client::builder(&std::env::var("FIRMSEAL_SERVER")?)
        .authorities(&authority)
        .token(std::env::var("FIRMSEAL_TOKEN")?.trim())
        .build()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let service = client.operator();
        let mut wishes = Vec::new();
        for file in files {
            wishes.push(CreateSignature {
                product: product.parse()?,
                channel: "stable".parse()?,
                artifact: carry_in(&service, std::fs::read(file)?).await?,
                key: None,
                version: version.parse()?,
                epoch: 0,
                parameters: Default::default(),
                build: "example".to_owned(),
                commit: "example".to_owned(),
                evidence: Vec::new(),
                priority: Priority::Release,
                deadline_seconds: None,
            });
        }
        // The same key with the same wishes is the same batch, so asking
        // again after a lost answer is always safe.
        let key = format!("example-{}", RustCrypto.digest(&serde_json::to_vec(&wishes)?));
        let answers = service.create_signatures(&key, wishes, PATIENCE).await?;
        let mut unsigned = 0;
        for (file, answer) in files.iter().zip(answers) {
            let (state, told) = match answer {
                SignatureAnswer::Request(request) => {
                    let request = at_its_end(&service, *request).await?;
                    (Some(request.state), serde_json::to_value(request)?)
                }
                SignatureAnswer::Problem(problem) => (None, serde_json::to_value(problem)?),
            };
            unsigned += usize::from(state != Some(SignatureState::Signed));
            println!("{}", serde_json::json!({ "file": file, "answer": told }));
        }
        match unsigned {
            0 => Ok(()),
            some => Err(format!("{some} of {} files are not signed", files.len()).into()),
        }
    })
}

/// Uploads a file in one piece, unless the service has it.
async fn carry_in(service: &OperatorClient<'_>, bytes: Vec<u8>) -> Result<ArtifactId, Box<dyn Error>> {
    let artifact = ArtifactId(RustCrypto.digest(&bytes));
    if service.artifact(artifact).await.is_err() {
        let wish = CreateUpload { size: bytes.len() as u64, sha256: artifact };
        let upload = service.create_upload(&wish).await?;
        service.append(upload.id, 0, bytes.into()).await?;
        service.complete(upload.id).await?;
    }
    Ok(artifact)
}

/// The request, once nobody has to do anything about it any more.
async fn at_its_end(
    service: &OperatorClient<'_>,
    mut request: SignatureRequest,
) -> Result<SignatureRequest, Box<dyn Error>> {
    use SignatureState::{Held, Queued, Waiting};
    for _ in 0..ANSWERS {
        if !matches!(request.state, Queued | Waiting | Held) {
            break;
        }
        // What waits for people is answered at once: somebody may agree
        // meanwhile.
        tokio::time::sleep(Duration::from_secs(1)).await;
        request = service.signature(request.id, PATIENCE).await?;
    }
    Ok(request)
}

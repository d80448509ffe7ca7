//! A key in KMS, as a signer.

use aws_sdk_kms::Client;
use aws_sdk_kms::primitives::Blob;
use aws_sdk_kms::types::{
    KeyMetadata, KeyState, KeyUsageType, MessageType, OriginType, SigningAlgorithmSpec,
};
use firmseal_keys::{Covered, SignError};
use firmseal_keys_remote::{Kept, Options, RemoteKey, Service, fixed, hashed, wait_for};
use firmseal_manifest::{KeyAlgorithm, KeyError, PublicKey, Signature, Tbs};

use crate::client::client;
use crate::error::AwsError;
use crate::uri::AwsKmsUri;

/// A signer with its key in AWS KMS.
pub type AwsKey = RemoteKey<Pinned>;

/// One key in KMS, by its ARN: an alias may come to stand for another.
pub struct Pinned {
    client: Client,
    arn: String,
    algorithm: KeyAlgorithm,
    scheme: SigningAlgorithmSpec,
}

/// Opens the key that the URI names.
///
/// Blocks for up to the deadline; call it at start.
pub fn open(uri: &AwsKmsUri, options: Options) -> Result<AwsKey, AwsError> {
    let wanted = uri.clone();
    let opened = wait_for(options.deadline, async move {
        let client = client(&wanted, options.deadline).await;
        let metadata = describe(&client, &wanted.key).await?;
        // From here on it is this key, whatever an alias says.
        let arn = metadata.arn().ok_or(AwsError::Answer("ARN"))?.to_owned();
        let public_key = public_key(&client, &arn).await?;
        Ok::<_, AwsError>((client, public_key, arn, metadata))
    })??;
    let (client, public_key, arn, metadata) = opened;
    enabled(&metadata)?;
    let algorithm = public_key.algorithm();
    let scheme =
        scheme(algorithm).ok_or(AwsError::NotForSigning("keys of this type are not used with KMS"))?;
    let kept = Kept { place: arn.clone(), within: "kms", weakness: weakness(&metadata) };
    let pinned = Pinned { client, arn, algorithm, scheme };
    Ok(RemoteKey::new(pinned, public_key, kept, options).map_err(|_| KeyError::Malformed)?)
}

/// The public half of a key.
pub(crate) async fn public_key(client: &Client, key: &str) -> Result<PublicKey, AwsError> {
    let answer = client.get_public_key().key_id(key).send().await.map_err(AwsError::from_sdk)?;
    if answer.key_usage() != Some(&KeyUsageType::SignVerify) {
        return Err(AwsError::NotForSigning("its usage is not SIGN_VERIFY"));
    }
    let spki = answer.public_key().ok_or(AwsError::Answer("public key"))?;
    Ok(PublicKey::from_spki(spki.as_ref())?)
}

pub(crate) async fn describe(client: &Client, key: &str) -> Result<KeyMetadata, AwsError> {
    let answer = client.describe_key().key_id(key).send().await.map_err(AwsError::from_sdk)?;
    answer.key_metadata.ok_or(AwsError::Answer("metadata"))
}

pub(crate) fn enabled(metadata: &KeyMetadata) -> Result<(), AwsError> {
    match metadata.key_state() {
        Some(KeyState::Enabled) => Ok(()),
        Some(state) => Err(AwsError::Disabled(state.as_str().to_lowercase())),
        None => Err(AwsError::Answer("state")),
    }
}

pub(crate) fn weakness(metadata: &KeyMetadata) -> Option<&'static str> {
    match metadata.origin() {
        Some(OriginType::External) => Some("was imported, and exists elsewhere"),
        Some(OriginType::ExternalKeyStore) => Some("is kept by somebody else's key manager"),
        _ if metadata.multi_region() == Some(true) => Some("has replicas in other regions, or may get them"),
        _ => None,
    }
}

/// How keys of an algorithm sign in KMS. Ed25519 is not among them: KMS
/// takes messages of 4 KiB at most for it, and Ed25519 here takes 64.
fn scheme(algorithm: KeyAlgorithm) -> Option<SigningAlgorithmSpec> {
    match algorithm {
        KeyAlgorithm::P256 => Some(SigningAlgorithmSpec::EcdsaSha256),
        KeyAlgorithm::P384 => Some(SigningAlgorithmSpec::EcdsaSha384),
        // The salt has the length of the hash (KMS Developer Guide,
        // "RSASSA-PSS": 32 bytes with SHA-256).
        KeyAlgorithm::Rsa(_) => Some(SigningAlgorithmSpec::RsassaPssSha256),
        KeyAlgorithm::Ed25519 | KeyAlgorithm::Lms(_) | KeyAlgorithm::MlDsa(_) => None,
    }
}

impl Service for Pinned {
    async fn sign(&self, covered: &Covered) -> Result<Signature, SignError> {
        let tbs = covered.tbs();
        let answer = self
            .client
            .sign()
            .key_id(&self.arn)
            .message(Blob::new(hashed(self.algorithm, tbs)))
            .message_type(MessageType::Digest)
            .signing_algorithm(match tbs {
                Tbs::Pkcs1(_) => SigningAlgorithmSpec::RsassaPkcs1V15Sha256,
                _ => self.scheme.clone(),
            })
            .send()
            .await
            .map_err(AwsError::from_sdk)?;
        let signature = answer.signature.ok_or(AwsError::Answer("signature"))?.into_inner();
        match self.algorithm {
            KeyAlgorithm::Rsa(_) => Ok(Signature(signature)),
            algorithm => fixed(algorithm, &signature).ok_or(SignError::BadSignature),
        }
    }

    async fn ready(&self) -> Result<(), SignError> {
        Ok(enabled(&describe(&self.client, &self.arn).await?)?)
    }
}

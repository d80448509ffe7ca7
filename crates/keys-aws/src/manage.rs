//! Making keys in KMS, under an alias.

use std::time::Duration;

use aws_sdk_kms::types::{KeySpec, KeyUsageType};
use firmseal_keys::AwsKmsUri;
use firmseal_keys_remote::wait_for;
use firmseal_manifest::{KeyAlgorithm, PublicKey};

use crate::client::client;
use crate::error::AwsError;
use crate::key::public_key;

const DEADLINE: Duration = Duration::from_secs(60);

/// Makes a key and gives it the alias that the URI names, as
/// `alias/NAME`. The key is made in KMS and cannot be exported; its policy
/// is KMS's default one.
pub fn generate(uri: &AwsKmsUri, algorithm: KeyAlgorithm) -> Result<PublicKey, AwsError> {
    let spec = match algorithm {
        KeyAlgorithm::P256 => KeySpec::EccNistP256,
        KeyAlgorithm::P384 => KeySpec::EccNistP384,
        KeyAlgorithm::Rsa(2048) => KeySpec::Rsa2048,
        KeyAlgorithm::Rsa(3072) => KeySpec::Rsa3072,
        KeyAlgorithm::Rsa(4096) => KeySpec::Rsa4096,
        _ => {
            return Err(AwsError::NotForSigning(
                "kms makes p256, p384, rsa2048, rsa3072 and rsa4096 keys here",
            ));
        }
    };
    let Some(alias) = uri.key.strip_prefix("alias/") else {
        return Err(AwsError::NotForSigning("a new key gets an alias: write `alias/NAME` and `region=`"));
    };
    let (uri, alias) = (uri.clone(), format!("alias/{alias}"));
    wait_for(DEADLINE, async move {
        let client = client(&uri, DEADLINE).await;
        match public_key(&client, &alias).await {
            Err(AwsError::NoKey(_)) => {}
            Err(error) => return Err(error),
            Ok(_) => return Err(AwsError::Exists(alias)),
        }
        let made = client
            .create_key()
            .key_spec(spec)
            .key_usage(KeyUsageType::SignVerify)
            .description("made by firmseal")
            .send()
            .await
            .map_err(AwsError::from_sdk)?;
        let metadata = made.key_metadata.ok_or(AwsError::Answer("metadata"))?;
        let named = client.create_alias().alias_name(&alias).target_key_id(metadata.key_id()).send().await;
        if let Err(error) = named {
            // A key that nobody can name must not stay and cost money. If
            // that fails too, the first error is the one to read.
            let _ = client
                .schedule_key_deletion()
                .key_id(metadata.key_id())
                .pending_window_in_days(7)
                .send()
                .await;
            return Err(AwsError::from_sdk(error));
        }
        let key = public_key(&client, &alias).await?;
        match key.algorithm() == algorithm {
            true => Ok(key),
            false => Err(AwsError::Replaced),
        }
    })?
}

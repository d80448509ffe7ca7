//! Keys in AWS KMS: `aws-kms:arn:aws:kms:REGION:ACCOUNT:key/ID`, or
//! `aws-kms:alias/NAME?region=REGION`.

use std::fmt;
use std::str::FromStr;

use firmseal_keys::KeysError;
use firmseal_keys::uri_options::{Options, fail, write};

const KIND: &str = "aws-kms";

/// A parsed AWS KMS URI.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AwsKmsUri {
    /// What KMS calls KeyId: the ARN of a key or alias, a key's id, or
    /// `alias/NAME`.
    pub key: String,
    /// The region: that of the ARN, or as it is given.
    pub region: String,
    /// The named profile of the AWS configuration to take credentials from.
    pub profile: Option<String>,
    /// Another address than that of the region: a VPC endpoint, or a test.
    pub endpoint: Option<String>,
}

impl FromStr for AwsKmsUri {
    type Err = KeysError;

    fn from_str(text: &str) -> Result<AwsKmsUri, KeysError> {
        let fail = |why: &str| fail(KIND, why);
        let (name, mut options) = Options::split(KIND, text)?;
        let Some(key) = name.strip_prefix("aws-kms:") else {
            return fail("it begins with `aws-kms:`");
        };
        let given = options.text("region");
        let region = match (key.strip_prefix("arn:"), given) {
            (Some(rest), None) => match rest.splitn(5, ':').collect::<Vec<&str>>().as_slice() {
                [partition, "kms", region, account, resource]
                    if is_name(partition)
                        && is_name(region)
                        && account.len() == 12
                        && account.bytes().all(|byte| byte.is_ascii_digit())
                        && is_resource(resource) =>
                {
                    region
                }
                _ => return fail("an ARN of KMS is `arn:aws:kms:REGION:ACCOUNT:key/ID` or `…:alias/NAME`"),
            },
            (Some(_), Some(_)) => return fail("the ARN names the region; leave `region` out"),
            (None, Some(region)) if is_name(region) => region,
            (None, Some(_)) => return fail("`region` is a name such as eu-central-1"),
            // A region of the environment could change which key this is.
            (None, None) => return fail("without an ARN, `region=` says where the key is"),
        };
        if !key.starts_with("arn:") && !is_id(key) && !is_alias(key) {
            return fail("it names a key's ARN, a key's id, or `alias/NAME`");
        }
        let profile = options.text("profile").map(str::to_owned);
        let endpoint = options.text("endpoint").map(str::to_owned);
        if endpoint.as_deref().is_some_and(|endpoint| !is_endpoint(endpoint)) {
            return fail("`endpoint` is `https://HOST`, or `http://` on this machine for tests");
        }
        options.end("region, profile and endpoint")?;
        Ok(AwsKmsUri { key: key.to_owned(), region: region.to_owned(), profile, endpoint })
    }
}

fn is_name(text: &str) -> bool {
    !text.is_empty()
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

/// A UUID, or the id of a multi-region key.
fn is_id(text: &str) -> bool {
    let plain = text.bytes().all(|byte| byte.is_ascii_hexdigit() || byte == b'-');
    let multi = text.strip_prefix("mrk-").is_some_and(|id| id.bytes().all(|byte| byte.is_ascii_hexdigit()));
    (plain || multi) && (32..=64).contains(&text.len())
}

fn is_alias(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'/');
    text.strip_prefix("alias/").is_some_and(|name| !name.is_empty() && name.bytes().all(plain))
}

fn is_resource(text: &str) -> bool {
    text.strip_prefix("key/").is_some_and(is_id) || is_alias(text)
}

/// Requests carry no secret, but digests and key names are nobody's business.
fn is_endpoint(text: &str) -> bool {
    let host = |rest: &str| {
        let plain =
            |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b':' | b'[' | b']');
        !rest.is_empty() && rest.bytes().all(plain)
    };
    let local = |rest: &str| rest.starts_with("127.0.0.1:") || rest.starts_with("[::1]:");
    text.strip_prefix("https://").is_some_and(host)
        || text.strip_prefix("http://").is_some_and(|rest| host(rest) && local(rest))
}

impl fmt::Display for AwsKmsUri {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "aws-kms:{}", self.key)?;
        let region = Some(self.region.clone()).filter(|_| !self.key.starts_with("arn:"));
        write(
            f,
            &[("region", region), ("profile", self.profile.clone()), ("endpoint", self.endpoint.clone())],
        )
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn a_uri_has_one_spelling() {
        for text in [
            "aws-kms:arn:aws:kms:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab",
            "aws-kms:arn:aws:kms:eu-central-1:111122223333:alias/firmseal/release?profile=signing",
            "aws-kms:alias/release?region=eu-central-1&endpoint=http://127.0.0.1:5000",
            "aws-kms:mrk-1234abcd12ab34cd56ef1234567890ab?region=eu-central-1",
        ] {
            let uri: AwsKmsUri = text.parse().unwrap();
            assert_eq!(uri.to_string(), text);
            assert_eq!(uri.region, "eu-central-1");
        }
    }

    #[test]
    fn what_is_wrong_is_named_and_no_value_repeated() {
        for (bad, says) in [
            ("aws-kms:", "`region=`"),
            ("aws-kms:alias/release", "`region=`"),
            ("aws-kms:release?region=eu-central-1", "alias/NAME"),
            ("aws-kms:alias/?region=eu-central-1", "alias/NAME"),
            ("aws-kms:alias/a?region=EU", "`region`"),
            ("aws-kms:arn:aws:s3:eu-central-1:111122223333:key/1234abcd-12ab-34cd-56ef-1234567890ab", "ARN"),
            ("aws-kms:arn:aws:kms:eu-central-1:1:key/1234abcd-12ab-34cd-56ef-1234567890ab", "ARN"),
            ("aws-kms:arn:aws:kms:eu-central-1:111122223333:key/x", "ARN"),
            ("aws-kms:arn:aws:kms:eu-central-1:111122223333:alias/a?region=eu-west-1", "leave `region` out"),
            ("aws-kms:alias/a?region=eu-west-1&endpoint=http://kms.example", "https"),
            ("aws-kms:alias/a?region=eu-west-1&secret=123456", "no option `secret`"),
        ] {
            let error = bad.parse::<AwsKmsUri>().unwrap_err().to_string();
            assert!(error.contains(says), "{bad}: {error}");
            assert!(!error.contains("123456"), "{error}");
        }
    }
}

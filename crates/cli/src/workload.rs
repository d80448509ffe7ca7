//! The token that a CI platform gives to a job, asked for when it is needed:
//! it lives for minutes and is kept nowhere.

use std::time::Duration;

use firmseal_keys::Secret;
use firmseal_outbound::{Endpoint, Request};
use http::{HeaderValue, header};
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Kind, Result, file};

/// The variable with a token: GitLab's `id_tokens`, and whatever else hands
/// tokens out as variables.
const TOKEN: &str = "FIRMSEAL_TOKEN";
/// GitHub's variables, set where a job has `id-token: write`.
const GITHUB_URL: &str = "ACTIONS_ID_TOKEN_REQUEST_URL";
const GITHUB_TOKEN: &str = "ACTIONS_ID_TOKEN_REQUEST_TOKEN";
/// Who vouches for the platform, unless `SSL_CERT_FILE` names another file,
/// as it does for OpenSSL.
const AUTHORITIES: &str = "/etc/ssl/certs/ca-certificates.crt";
const PATIENCE: Duration = Duration::from_secs(20);
const ANSWER_MAX: usize = 64 * 1024;

/// Whose token a job shows: `workload = { audience = "firmseal.example.com" }`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Workload {
    /// What the service calls itself, as its `[[identity]]` says; the
    /// platform makes the token for it alone. Not needed where the token
    /// stands in a variable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub audience: Option<String>,
}

/// What GitHub answers.
#[derive(Deserialize)]
struct Answer {
    value: String,
}

impl Workload {
    /// Whether another one can be had when this one is over.
    pub fn renews(&self) -> bool {
        set(TOKEN).is_none() && set(GITHUB_URL).is_some()
    }

    /// The job's token, from where its platform has it.
    pub fn token(&self) -> Result<Secret> {
        if let Some(token) = set(TOKEN) {
            return Ok(Secret::new(token.into_bytes()));
        }
        let (Some(url), Some(bearer)) = (set(GITHUB_URL), set(GITHUB_TOKEN)) else {
            return Err(CliError::new(Kind::NotAllowed, "this job has no token to show").hint(format!(
                "on GitHub give it `permissions: id-token: write`, elsewhere set {TOKEN}; or name a token's file"
            )));
        };
        let Some(audience) = self.audience.clone() else {
            return Err(CliError::new(Kind::Usage, "for whom is the token? the platform has to be told")
                .hint("say --audience, FIRMSEAL_AUDIENCE, or `audience` in the profile"));
        };
        // Who calls may already be in a runtime, which does not wait for
        // another: this one has a thread of its own.
        let asked =
            std::thread::spawn(move || super::commands::block_on_value(ask(&url, &bearer, &audience)));
        asked.join().map_err(|_| CliError::new(Kind::Unexpected, "asking for the job's token failed"))?
    }
}

fn set(name: &str) -> Option<String> {
    std::env::var(name).ok().map(|value| value.trim().to_owned()).filter(|value| !value.is_empty())
}

/// GitHub: the job's own short-lived token asks for one that others can
/// check.
async fn ask(url: &str, bearer: &str, audience: &str) -> Result<Secret> {
    let unusable =
        || CliError::new(Kind::Unexpected, format_args!("{GITHUB_URL} is not an https:// address"));
    let (base, path) =
        url.strip_prefix("https://").and_then(|rest| rest.split_once('/')).ok_or_else(unusable)?;
    let authorities = set("SSL_CERT_FILE").unwrap_or_else(|| AUTHORITIES.to_owned());
    let authorities = std::path::PathBuf::from(authorities);
    let pem = std::fs::read(&authorities).map_err(file(&authorities))?;
    let away = |error: firmseal_outbound::OutboundError| {
        CliError::new(Kind::Unavailable, error).about("the platform's tokens")
    };
    let endpoint = Endpoint::new(&format!("https://{base}"), Some(&pem), PATIENCE).map_err(away)?;
    let separator = if path.contains('?') { '&' } else { '?' };
    let path = format!("{path}{separator}audience={}", encode(audience));
    let mut bearer = HeaderValue::try_from(format!("Bearer {bearer}"))
        .map_err(|_| CliError::new(Kind::Unexpected, format_args!("{GITHUB_TOKEN} is not a token")))?;
    bearer.set_sensitive(true);
    let request = Request::get(path, ANSWER_MAX).header(header::AUTHORIZATION, bearer);
    let answer = endpoint.send(request).await.map_err(away)?;
    // Its words stay out of the error: a token may be among them.
    match (answer.status, serde_json::from_slice::<Answer>(&answer.body)) {
        (200, Ok(answer)) => Ok(Secret::new(answer.value.into_bytes())),
        (status, _) => Err(CliError::new(
            Kind::NotAllowed,
            format_args!("the platform answered {status} and gave no token"),
        )
        .hint("does the job have `permissions: id-token: write`?")),
    }
}

/// For a query or a form (WHATWG URL, application/x-www-form-urlencoded).
pub fn encode(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes().fold(String::new(), |mut out, byte| {
        match plain(byte) {
            true => out.push(char::from(byte)),
            false => out.push_str(&format!("%{byte:02X}")),
        }
        out
    })
}

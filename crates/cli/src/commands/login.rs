//! `firmseal login`: a person signs in at an identity provider.
//!
//! By device code (RFC 8628): the provider's page is opened in whatever
//! browser the person trusts, so this works over SSH and in a container, and
//! no port is opened here. The ID token itself is what the server takes: it
//! is short-lived, and the server looks at its claims anew for each request,
//! so there is no session that outlives a change of grants.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use firmseal_api::access::SignIn;
use firmseal_identity::{DISCOVERY, Discovery};
use firmseal_outbound::{Endpoint, Request};
use http::{HeaderValue, header};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::time::Instant;

use crate::error::{CliError, Kind, Result, file};
use crate::newfile;
use crate::output::Output;
use crate::profile::Profile;
use crate::workload::encode;

/// Longest wait for one answer of the provider.
const PATIENCE: Duration = Duration::from_secs(20);
/// Longest answer, in bytes.
const ANSWER_MAX: usize = 256 * 1024;
/// What RFC 8628 §3.5 adds to the interval at `slow_down`.
const SLOWER: Duration = Duration::from_secs(5);
/// Between two questions, unless the provider says otherwise (§3.2).
const INTERVAL: u64 = 5;

/// Sign in at the server's identity provider, with a browser anywhere
///
/// Shows an address and a code, waits until you have agreed there, and
/// writes the provider's token into the file that the profile names under
/// `token`. The token is good for as long as the provider says, often an
/// hour; then sign in again.
#[derive(Args)]
#[command(after_help = "Examples:
  firmseal login --profile alice.toml
  firmseal login --profile alice.toml --issuer https://login.example.com/realms/eng \\
      --authority /etc/ssl/certs/ca-certificates.crt")]
pub struct Login {
    /// The provider, where the server takes people of several
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// PEM file of the certificate authorities that vouch for the provider
    #[arg(long, value_name = "FILE", default_value = "/etc/ssl/certs/ca-certificates.crt")]
    authority: PathBuf,
}

/// What the provider answers to the first question (RFC 8628 §3.2).
#[derive(Deserialize)]
struct Began {
    device_code: String,
    user_code: String,
    verification_uri: String,
    expires_in: u64,
    #[serde(default)]
    interval: Option<u64>,
}

/// What it answers at last.
#[derive(Deserialize)]
struct Done {
    id_token: Option<String>,
}

/// What it answers until then (RFC 6749 §5.2).
#[derive(Deserialize)]
struct NotYet {
    error: String,
}

impl Login {
    /// Runs the command.
    pub async fn run(self, profile: Option<&Path>, output: &Output) -> Result {
        let profile = Profile::read(profile)?;
        let Some(token) = &profile.token else {
            return Err(CliError::new(Kind::Usage, "the profile names no file for the token")
                .hint("add `token = \"alice.token\"` to it"));
        };
        let known = profile.anonymous()?.operator().sign_ins().await?.items;
        let sign_in = self.choose(known)?;
        let authorities = std::fs::read(&self.authority).map_err(file(&self.authority))?;
        let provider = Provider::discover(&sign_in.issuer, authorities).await?;
        let value = provider.sign_in(&sign_in, output).await?;
        // Whoever reads meanwhile has the old token or the new one.
        newfile::replace(token, newfile::PRIVATE, format!("{value}\n").as_bytes())?;
        output.value(&json!({ "issuer": sign_in.issuer, "token": token }), || {
            format!("signed in at {}; the token is in {}\n", sign_in.issuer, token.display())
        })
    }

    fn choose(&self, known: Vec<SignIn>) -> Result<SignIn> {
        let issuers: Vec<String> = known.iter().map(|one| one.issuer.clone()).collect();
        let wanted = |one: &SignIn| self.issuer.as_ref().is_none_or(|issuer| *issuer == one.issuer);
        let mut found = known.into_iter().filter(wanted);
        match (found.next(), found.next()) {
            (Some(one), None) => Ok(one),
            (Some(_), Some(_)) => Err(CliError::new(Kind::Usage, "people sign in at several providers here")
                .hint(format!("choose with --issuer: {}", issuers.join(", ")))),
            (None, _) => Err(CliError::new(Kind::NotFound, "the server has no such provider to sign in at")
                .hint("an administrator adds `sign_in` to an [[identity]] of the server")),
        }
    }
}

/// A provider's addresses, from its discovery document.
struct Provider {
    authorities: Vec<u8>,
    device: String,
    token: String,
}

impl Provider {
    async fn discover(issuer: &str, authorities: Vec<u8>) -> Result<Provider> {
        let url = format!("{}/{DISCOVERY}", issuer.trim_end_matches('/'));
        let (base, path) = split(&url)?;
        let endpoint = Endpoint::new(base, Some(&authorities), PATIENCE).map_err(out_of_reach(&url))?;
        let answer = endpoint.get(path, ANSWER_MAX).await.map_err(out_of_reach(&url))?;
        // The document of another issuer would send the code elsewhere.
        let found = Discovery::read(issuer, &answer.body).filter(|_| answer.status == 200);
        match found.map(|found| (found.device, found.token)) {
            Some((Some(device), Some(token))) => Ok(Provider { authorities, device, token }),
            _ => Err(CliError::new(
                Kind::Unavailable,
                format_args!("{issuer} offers no sign-in by device code"),
            )
            .hint("ask whoever runs it to allow the device authorization grant (RFC 8628)")),
        }
    }

    async fn post(&self, url: &str, fields: &[(&str, &str)]) -> Result<(u16, bytes::Bytes)> {
        let (base, path) = split(url)?;
        let body: Vec<String> =
            fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        let request = Request::post(path, body.join("&"), ANSWER_MAX).header(header::CONTENT_TYPE, form);
        let endpoint = Endpoint::new(base, Some(&self.authorities), PATIENCE).map_err(out_of_reach(url))?;
        let answer = endpoint.send(request).await.map_err(out_of_reach(url))?;
        Ok((answer.status, answer.body))
    }

    async fn sign_in(&self, sign_in: &SignIn, output: &Output) -> Result<String> {
        let mut scope = vec!["openid"];
        scope.extend(sign_in.scopes.iter().map(String::as_str));
        let fields = [("client_id", sign_in.client_id.as_str()), ("scope", &scope.join(" "))];
        let began: Began = match self.post(&self.device, &fields).await? {
            (200, body) => understand(&body)?,
            (status, _) => {
                let why = format!("the provider answered {status} to the first question");
                return Err(CliError::new(Kind::Unavailable, why)
                    .hint("does it know the client_id that the server names?"));
            }
        };
        // The page's address is shown to a person, who decides whether to
        // trust it; what cannot be shown as it is might show as another.
        let plain = |text: &str| text.len() <= 512 && text.bytes().all(|byte| byte.is_ascii_graphic());
        if !plain(&began.verification_uri) || !plain(&began.user_code) {
            return Err(CliError::new(Kind::Unexpected, "the provider's address or code cannot be shown"));
        }
        output.note(format_args!("open  {}", began.verification_uri));
        output.note(format_args!("enter {}", began.user_code));
        let until = Instant::now() + Duration::from_secs(began.expires_in.min(3600));
        let mut interval = Duration::from_secs(began.interval.unwrap_or(INTERVAL).clamp(1, 60));
        let fields = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", began.device_code.as_str()),
            ("client_id", sign_in.client_id.as_str()),
        ];
        loop {
            if Instant::now() + interval > until {
                return Err(too_late());
            }
            tokio::time::sleep(interval).await;
            let (status, body) = self.post(&self.token, &fields).await?;
            if status == 200 {
                let done: Done = understand(&body)?;
                return done.id_token.ok_or_else(|| {
                    CliError::new(Kind::Unexpected, "the provider gave no ID token")
                        .hint("the client needs the scope `openid`")
                });
            }
            match understand::<NotYet>(&body)?.error.as_str() {
                "authorization_pending" => {}
                "slow_down" => interval += SLOWER,
                "access_denied" => return Err(CliError::new(Kind::NotAllowed, "the sign-in was refused")),
                "expired_token" => return Err(too_late()),
                _ => return Err(CliError::new(Kind::Unavailable, "the provider ended the sign-in")),
            }
        }
    }
}

fn too_late() -> CliError {
    CliError::new(Kind::Unavailable, "nobody agreed in time").hint("run the command again")
}

fn out_of_reach(url: &str) -> impl Fn(firmseal_outbound::OutboundError) -> CliError + '_ {
    move |error| CliError::new(Kind::Unavailable, error).about(url)
}

/// The words of the provider stay out of the error: a token may be among
/// them.
fn understand<T: DeserializeOwned>(body: &[u8]) -> Result<T> {
    serde_json::from_slice(body)
        .map_err(|_| CliError::new(Kind::Unexpected, "the provider's answer was not understood"))
}

fn split(url: &str) -> Result<(&str, &str)> {
    url.rsplit_once('/').ok_or_else(|| CliError::new(Kind::Unexpected, format_args!("`{url}` has no path")))
}

//! The service, as whoever waits for signatures asks it.

use std::collections::HashMap;

use firmseal_api::client::{Client, ClientError};
use firmseal_api::signatures::{Signature, SignatureRequest, SignatureState};
use firmseal_manifest::{PublicKey, RequestId};
use http::StatusCode;
use tokio::time::Instant;

use super::{PAUSE, POLL};
use crate::backoff::Backoff;
use crate::commands::request_record::missing;
use crate::error::{CliError, Kind, Result};
use crate::output::Output;
use crate::profile::Profile;
use crate::progress::Progress;

/// What the client answers.
type Answer<T> = std::result::Result<T, ClientError>;

/// The service, and the way to come in again when a job's token is over.
pub(super) struct Service {
    profile: Profile,
    pub(super) client: Client,
    /// The keys that it showed, by their ids.
    keys: HashMap<String, PublicKey>,
}

impl Service {
    pub(super) fn open(profile: Profile) -> Result<Service> {
        Ok(Service { client: profile.client()?, profile, keys: HashMap::new() })
    }

    /// The key that signed, as the service shows it.
    pub(super) async fn key_of(&mut self, signature: &Signature) -> Result<PublicKey> {
        let id = signature.key_id.to_string();
        if let Some(key) = self.keys.get(&id) {
            return Ok(key.clone());
        }
        let shown = self.ask(async |client| client.operator().keys().await).await?.items;
        let found = shown.iter().find(|key| key.id == id);
        let found = found.ok_or_else(|| {
            let what = format!("the service does not show key {}, which signed", signature.key);
            CliError::new(Kind::Refused, what).hint("name its public half with --public")
        })?;
        let key = PublicKey::from_text(&found.public)?;
        self.keys.insert(id, key.clone());
        Ok(key)
    }

    /// Asks, and asks again where that may help: everything that is asked
    /// here can be sent twice.
    pub(super) async fn ask<T>(&mut self, call: impl AsyncFn(&Client) -> Answer<T>) -> Result<T> {
        let (mut backoff, mut renewed) = (Backoff::new(), false);
        loop {
            match call(&self.client).await {
                Ok(answer) => return Ok(answer),
                // The token is over, or was used for another change.
                Err(error) if error.status() == Some(StatusCode::UNAUTHORIZED) => {
                    if renewed || !self.profile.renews() {
                        return Err(error.into());
                    }
                    (self.client, renewed) = (self.profile.client()?, true);
                }
                Err(error) => backoff.wait(error).await?,
            }
        }
    }

    /// Waits until a request is at its end, or for long enough.
    pub(super) async fn wait(
        &mut self,
        mut request: SignatureRequest,
        until: Instant,
        output: &Output,
    ) -> Result<SignatureRequest> {
        let progress = Progress::waiting(output, String::new());
        let mut told = String::new();
        loop {
            let now = standing(&request);
            progress.say(now.clone());
            if now != told && is_open(request.state) {
                output.note(format_args!("{}: {now}", request.id));
                told = now;
            }
            let left = until.saturating_duration_since(Instant::now());
            if !is_open(request.state) || left.is_zero() {
                return Ok(request);
            }
            let id: RequestId = request.id;
            let before = Instant::now();
            request = self.ask(async |client| client.operator().signature(id, left.min(POLL)).await).await?;
            // The service holds an answer back while a request is queued, and
            // not while it waits for people.
            if is_open(request.state) && before.elapsed() < PAUSE {
                tokio::time::sleep(PAUSE.min(left)).await;
            }
        }
    }
}

pub(super) fn is_open(state: SignatureState) -> bool {
    matches!(state, SignatureState::Queued | SignatureState::Waiting | SignatureState::Held)
}

/// What a request waits for, in words.
pub(in crate::commands) fn standing(request: &SignatureRequest) -> String {
    let why = request.reasons.iter().map(|reason| format!("; {}: {}", reason.rule, reason.why));
    let what = match (request.state, missing(request)) {
        (SignatureState::Waiting, Some(missing)) => format!("{missing} more people have to agree"),
        (SignatureState::Held, _) => "held: a security officer has to release it".to_owned(),
        _ => "queued".to_owned(),
    };
    crate::record::plain(&(what + &why.collect::<String>()))
}

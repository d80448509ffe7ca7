//! Profiles: which server, which authority, which token.

use std::path::{Path, PathBuf};

use firmseal_api::client::{Builder, Client, ClientError};
use firmseal_keys::private;
use serde::{Deserialize, Serialize};

use crate::error::{CliError, Kind, Result, file};
use crate::record::plain;
use crate::workload::Workload;

/// Where `init` puts the profile of its first operator.
pub const DEFAULT: &str = "firmseal/operator.toml";

/// The file `operator.toml`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    /// Base URL of the operators' listener.
    pub server: String,
    /// Certificate authorities that the server's certificate must chain to.
    pub authority: PathBuf,
    /// File with the operator's token, readable by its owner only. May be
    /// left out where the certificate says who the operator is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<PathBuf>,
    /// Show the token that the CI platform gives to this job.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workload: Option<Workload>,
    /// Client certificate with its chain, PEM, for a listener that demands
    /// one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate: Option<PathBuf>,
    /// Private key of the certificate, PEM, readable by its owner only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<PathBuf>,
}

impl Profile {
    /// Reads a profile. Relative paths in it are relative to it.
    ///
    /// Without one the environment says it all, where it names a server: a
    /// pipeline needs no file.
    pub fn read(path: Option<&Path>) -> Result<Profile> {
        if path.is_none()
            && let Some(profile) = Profile::of_environment()?
        {
            return Ok(profile);
        }
        let path = path.unwrap_or(Path::new(DEFAULT));
        let text = std::fs::read_to_string(path).map_err(|error| {
            file(path)(error)
                .hint("run `firmseal init`, or name a profile with --profile or FIRMSEAL_PROFILE")
        })?;
        let mut profile: Profile = toml::from_str(&text)
            .map_err(|error| CliError::new(Kind::Usage, error.message()).about(path.display()))?;
        let base = path.parent().unwrap_or(Path::new(""));
        profile.authority = base.join(&profile.authority);
        for path in [&mut profile.token, &mut profile.certificate, &mut profile.key].into_iter().flatten() {
            *path = base.join(&*path);
        }
        let unusable =
            |why: &str, hint: &str| Err(CliError::new(Kind::Usage, why).about(path.display()).hint(hint));
        if profile.certificate.is_some() != profile.key.is_some() {
            return unusable("certificate and key go together", "name both files, or neither");
        }
        if profile.token.is_some() && profile.workload.is_some() {
            return unusable("there are two tokens", "name a file, or show the job's own");
        }
        if profile.token.is_none() && profile.workload.is_none() && profile.certificate.is_none() {
            return unusable(
                "there is neither token nor certificate",
                "name the token's file: token = \"...\"",
            );
        }
        Ok(profile)
    }

    /// What `FIRMSEAL_SERVER`, `FIRMSEAL_AUTHORITY`, and `FIRMSEAL_TOKEN_FILE`
    /// or the job's own token say; `None` where no server is named.
    fn of_environment() -> Result<Option<Profile>> {
        let path = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let Some(server) = std::env::var("FIRMSEAL_SERVER").ok().filter(|server| !server.is_empty()) else {
            return Ok(None);
        };
        let authority = path("FIRMSEAL_AUTHORITY").ok_or_else(|| {
            CliError::new(Kind::Usage, "FIRMSEAL_SERVER is set and FIRMSEAL_AUTHORITY is not")
                .hint("name the PEM file of the authorities that vouch for the server")
        })?;
        Ok(Some(Profile::bare(server, authority, path("FIRMSEAL_TOKEN_FILE"), None)))
    }

    /// A profile that stands in no file. Without a token's file the job's own
    /// token is shown.
    pub fn bare(
        server: String,
        authority: PathBuf,
        token: Option<PathBuf>,
        audience: Option<String>,
    ) -> Profile {
        let audience = audience.or_else(|| std::env::var("FIRMSEAL_AUDIENCE").ok());
        let workload = token.is_none().then_some(Workload { audience });
        Profile { server, authority, token, workload, certificate: None, key: None }
    }

    /// Whether a token that is over can be replaced without anybody's doing.
    pub fn renews(&self) -> bool {
        self.workload.as_ref().is_some_and(Workload::renews)
    }

    /// A client for this server without a token, for whoever is about to get
    /// one.
    #[cfg(feature = "full")]
    pub fn anonymous(&self) -> Result<Client> {
        self.builder()?.build().map_err(CliError::from)
    }

    fn builder(&self) -> Result<Builder> {
        let authority = std::fs::read(&self.authority).map_err(file(&self.authority))?;
        let builder = Client::builder(&self.server).authorities(&authority);
        match (&self.certificate, &self.key) {
            (Some(certificate), Some(key)) => {
                let chain = std::fs::read(certificate).map_err(file(certificate))?;
                Ok(builder.identity(&chain, &private::read(key)?))
            }
            _ => Ok(builder),
        }
    }

    /// A client for this server, as this operator.
    pub fn client(&self) -> Result<Client> {
        let mut builder = self.builder()?;
        let about = |error: CliError, path: &Path| error.about(path.display());
        let text = |token: &[u8]| match std::str::from_utf8(token) {
            Ok(token) => Ok(token.trim().to_owned()),
            Err(_) => Err(CliError::new(Kind::Local, "holds no token: it is not text")),
        };
        if let Some(path) = &self.token {
            let token = private::read(path)?;
            builder = builder.token(&text(&token).map_err(|error| about(error, path))?);
        } else if let Some(workload) = &self.workload {
            builder = builder.token(&text(workload.token()?.expose())?);
        }
        builder.build().map_err(CliError::from)
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> CliError {
        let request_id = match &error {
            ClientError::Refused(problem) => Some(problem.request_id.clone()),
            _ => None,
        };
        let (kind, own_hint) = match (error.status().map(|status| status.as_u16()), &error) {
            (Some(401 | 403), _) => (Kind::NotAllowed, None),
            (Some(404), _) => (Kind::NotFound, None),
            (Some(409), _) => (Kind::Conflict, None),
            (Some(422), _) => (Kind::Refused, None),
            (Some(500), _) => (Kind::Unexpected, None),
            (Some(status), _) if status < 500 && !error.is_transient() => (Kind::Usage, None),
            (Some(_), _) => (Kind::Unavailable, Some("try again in a moment")),
            (None, ClientError::Unreachable { .. } | ClientError::Timeout(_) | ClientError::Broken(_)) => {
                (Kind::Unavailable, Some("is the server running? `firmseal serve` starts it"))
            }
            (None, ClientError::Tls { .. }) => {
                (Kind::NotAllowed, Some("does the profile name the authority of this very server?"))
            }
            (None, ClientError::TooLong(_) | ClientError::Answer(_)) => {
                (Kind::Unexpected, Some("do client and server have the same version?"))
            }
            (None, _) => (Kind::Usage, None),
        };
        let hint = error.hint().or(own_hint).map(str::to_owned);
        let message = match error {
            // Status and request id have places of their own: the exit code,
            // and the last line.
            ClientError::Refused(problem) if problem.reasons.len() > 1 => {
                let rules = problem
                    .reasons
                    .iter()
                    .map(|own| format!("\n  {}: {}", plain(&own.rule), plain(&own.why)));
                format!("{} rules refuse this:{}", problem.reasons.len(), rules.collect::<String>())
            }
            ClientError::Refused(problem) => problem.detail,
            other => other.to_string(),
        };
        CliError { kind, message, hint, request_id }
    }
}

//! What Vault says, as exit codes and hints.

use firmseal_keys_vault::VaultError;

use crate::error::{CliError, Kind};

impl From<VaultError> for CliError {
    fn from(error: VaultError) -> CliError {
        let kind = match error {
            VaultError::Secret(error) => return error.into(),
            VaultError::Denied(_) | VaultError::Token | VaultError::MayNotDestroy { .. } => Kind::NotAllowed,
            VaultError::NoKey { .. } | VaultError::NoEngine { .. } | VaultError::NoVersion { .. } => {
                Kind::NotFound
            }
            VaultError::Exists(_) | VaultError::OutOfTurn { .. } | VaultError::OlderFirst { .. } => {
                Kind::Conflict
            }
            VaultError::Authorities { .. } | VaultError::Thread(_) => Kind::Local,
            VaultError::NotForSigning(_)
            | VaultError::UnsupportedKey(_)
            | VaultError::NotConfined(_)
            | VaultError::Replaced
            | VaultError::StillThere
            | VaultError::Refused { .. }
            | VaultError::BadSignature => Kind::Refused,
            VaultError::Unreachable { .. }
            | VaultError::TimedOut
            | VaultError::Busy { .. }
            | VaultError::Answer(_) => Kind::Unavailable,
        };
        let hint = match &error {
            VaultError::Unreachable { why, .. } if why.contains("certificate") => {
                Some("compare ca-file= with the authority of vault's certificate")
            }
            VaultError::NoEngine { .. } => Some("a wrong namespace= looks the same"),
            _ => None,
        };
        let out = CliError::new(kind, error);
        match hint {
            Some(hint) => out.hint(hint),
            None => out,
        }
    }
}

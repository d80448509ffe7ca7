//! Status: how a device stands, for people and programs.

use serde::Serialize;

use crate::boot_control::BootState;
use crate::config::Config;
use crate::error::Error;
use crate::floors::Floors;
use crate::identity::{Identity, validity};
use crate::release::{Head, Origin};
use crate::state::State;
use crate::{Deps, Slot};

/// How a device stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Status {
    /// The product.
    pub product: String,
    /// The slots.
    pub boot: BootState,
    /// The floors.
    pub floors: Floors,
    /// What was installed into each slot last.
    pub slots: Vec<Installation>,
    /// The install under way.
    pub install: Option<Installation>,
    /// Reports that wait for the server.
    pub reports: usize,
    /// Version of the root document.
    pub root_version: u64,
    /// A later root document is kept and cannot be used: it has rotted, or
    /// somebody changed it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub root_broken: bool,
    /// Version of the owner's root document; absent without an owner.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub owner_root_version: Option<u64>,
    /// The newest freshness document that the root vouches for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freshness: Option<News>,
    /// What the recovery role signed may come in.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub stranded: bool,
    /// Version of the newest revocation; 0 without one.
    pub revocation_version: u64,
    /// The highest time that witnesses have vouched for, in seconds since
    /// 1970.
    pub time_floor: u64,
    /// End of the certificate's validity, in seconds since 1970; absent
    /// for a device that is not enrolled with a server.
    pub certificate_expires_at: Option<u64>,
}

/// News of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
pub struct News {
    /// The earliest time that a counted witness states, in seconds since
    /// 1970: what its age is counted from.
    pub at: u64,
    /// How long ago that is by the device's clock, in seconds; absent
    /// without a clock.
    pub age: Option<u64>,
    /// The newest revocation that the log knew of.
    pub revocation: u64,
}

/// A release in a slot.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Installation {
    /// The slot.
    pub slot: Slot,
    /// Version, for people.
    pub version: String,
    /// Sequence number.
    pub sequence: u64,
    /// Digest of the manifest.
    pub manifest: String,
    /// Where it came from.
    pub origin: Origin,
}

impl From<Head> for Installation {
    fn from(head: Head) -> Installation {
        let Head { slot, version, sequence, manifest, origin, .. } = head;
        Installation { slot, version, sequence, manifest, origin }
    }
}

impl Status {
    /// Reads the status of a device, also while its agent runs.
    pub fn read(config: Config, deps: &Deps) -> Result<Status, Error> {
        let identity = Identity::new(deps.files.clone(), &config.state);
        let anchor = identity.anchor()?.ok_or(Error::NotEnrolled)?;
        Status::of(&State::new(config, anchor, deps)?, &identity)
    }

    pub(crate) fn of(state: &State, identity: &Identity) -> Result<Status, Error> {
        let mut slots = Vec::new();
        for slot in [Slot::A, Slot::B] {
            slots.extend(state.shelf(slot).read()?.map(|kept| Installation::from(kept.head)));
        }
        let certificate = identity.certificate()?;
        let trusted = state.profile.trust.now();
        let clock = state.now().map(|millis| millis / 1000);
        let freshness = trusted.freshness(state.profile.config.product.as_str(), |news| {
            news.map(|news| News {
                at: news.checkpoint.earliest,
                age: clock.map(|clock| clock.saturating_sub(news.checkpoint.earliest)),
                revocation: news.revocation,
            })
        })?;
        let boot = state.control.active()?;
        Ok(Status {
            product: state.profile.config.product.to_string(),
            stranded: state.stranded(&boot),
            boot,
            floors: state.counters.floors()?,
            slots,
            install: state.journal.current()?.map(|kept| kept.head.into()),
            reports: state.reports.pending()?.len(),
            root_version: trusted.root()?.version(),
            root_broken: trusted.root.broken,
            owner_root_version: trusted.owner_version()?,
            freshness,
            revocation_version: trusted.revocation_version()?,
            time_floor: trusted.floor(),
            certificate_expires_at: match certificate {
                Some(pem) => Some(validity(&pem)?.not_after),
                None => None,
            },
        })
    }
}

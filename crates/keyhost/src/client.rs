//! Keys on hosts, as signers.
//!
//! Each signature needs two things shown to the host: a checkpoint that
//! covers the intent, which one request does for all that wait, and the path
//! from the intent to it. Several hosts may hold the same key; the first that
//! is there is asked, and whether the others are is looked at all the time.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use firmseal_fleet::Environment;
use firmseal_keys::{Covered, KeyPlace, SignError};
use firmseal_keys_remote::{Kept, Options, RemoteKey, Service, run, wait_for};
use firmseal_manifest::{KeyError, KeyName, PublicKey, Signature};
use firmseal_store_local::IntentLog;
use tokio::task::JoinSet;

use crate::error::ConnectError;
use crate::member::{Failed, Member};
use crate::seat::{Seat, Standing, Wanted, watch};

/// A server's way to one key host, or to several that hold the same keys.
/// Clones are the same one.
#[derive(Clone)]
pub struct Connection {
    inner: Arc<Inner>,
}

struct Inner {
    /// In the order in which they are asked; at least one.
    members: Vec<Arc<Member>>,
    /// The log in which the intents stand.
    log: IntentLog,
    options: Options,
    /// How long one request may take, and how often a host is looked at.
    patience: Duration,
}

impl Connection {
    /// A connection to the hosts at these addresses, `https://...`, with the
    /// authorities and the client certificate and key in these PEM texts, for
    /// keys whose uses stand in this log. Nothing is sent yet.
    ///
    /// They share the deadline, so that one that hangs leaves time to ask
    /// another.
    pub fn new(
        addresses: &[String],
        authorities: &[u8],
        identity: (&[u8], &[u8]),
        log: IntentLog,
        options: Options,
    ) -> Result<Connection, ConnectError> {
        let count = u32::try_from(addresses.len()).ok().filter(|count| *count > 0);
        let patience = options.deadline / count.ok_or(ConnectError::NoAddress)?;
        let (mut members, mut known) = (Vec::new(), BTreeSet::new());
        for address in addresses.iter().map(|address| address.trim_end_matches('/')) {
            if !known.insert(address) {
                return Err(ConnectError::Twice(address.to_owned()));
            }
            members.push(Arc::new(Member::new(address, authorities, identity, patience)?));
        }
        Ok(Connection { inner: Arc::new(Inner { members, log, options, patience }) })
    }
}

/// A signer with its key on a host.
pub type HostedKey = RemoteKey<Named>;

/// One key there: each host that holds it, in the order in which they are
/// asked.
pub struct Named {
    seats: Vec<Arc<Seat>>,
}

/// Opens a key: asks the hosts for its public half. Those of another
/// environment, or with different keys under this name, are refused; one of
/// several may be out of reach. Blocks for up to the deadline; call it at
/// start.
pub fn open(hosts: &Connection, key: &KeyName, environment: Environment) -> Result<HostedKey, ConnectError> {
    let Inner { members, log, options, patience } = &*hosts.inner;
    let (public_key, standing) =
        wait_for(options.deadline, shown(members.clone(), key.clone(), environment))??;
    let addresses: Vec<_> = members.iter().map(|member| member.address()).collect();
    // What it is kept in there, its host knows.
    let place = format!("{}, key {key}", addresses.join(" and "));
    let kept = Kept { place, within: "its host", weakness: None };
    let wanted = Wanted { key: key.clone(), public_key: public_key.clone(), environment, log: log.clone() };
    let wanted = Arc::new(wanted);
    let mut seats = Vec::new();
    for (member, standing) in members.iter().zip(standing) {
        let seat = Arc::new(Seat::new(wanted.clone(), member.clone(), standing));
        run(watch(Arc::downgrade(&seat), *patience))?;
        seats.push(seat);
    }
    Ok(RemoteKey::new(Named { seats }, public_key, kept, *options).map_err(|_| KeyError::Malformed)?)
}

/// The public half of a key, and how each host stands with it.
async fn shown(
    members: Vec<Arc<Member>>,
    key: KeyName,
    environment: Environment,
) -> Result<(PublicKey, Vec<Standing>), ConnectError> {
    let mut asked = JoinSet::new();
    for (number, member) in members.into_iter().enumerate() {
        let key = key.clone();
        asked.spawn(async move {
            let answer = member.key(&key, environment).await;
            (number, member, answer)
        });
    }
    let mut answers = asked.join_all().await;
    answers.sort_by_key(|(number, ..)| *number);
    let mut first: Option<(Arc<Member>, PublicKey)> = None;
    let (mut standing, mut silent) = (Vec::new(), Vec::new());
    for (_, member, answer) in answers {
        match (answer, &first) {
            (Ok(found), Some((known, public_key))) if found != *public_key => {
                let (one, other) = (known.address().to_owned(), member.address().to_owned());
                return Err(ConnectError::Different { key, one, other });
            }
            (Ok(found), known) => {
                standing.push(Standing::There);
                if known.is_none() {
                    first = Some((member, found));
                }
            }
            (Err(ConnectError::NoAnswer(why)), _) => {
                standing.push(Standing::Away(why.clone()));
                silent.push(why);
            }
            (Err(error), _) => return Err(error),
        }
    }
    match first {
        Some((_, public_key)) => Ok((public_key, standing)),
        None => Err(ConnectError::NoAnswer(silent.join("; "))),
    }
}

impl Named {
    /// The seats in the order in which they are asked: those that are there
    /// first, and where one knows another history, that one alone.
    fn order(&self) -> Vec<&Seat> {
        let mut order: Vec<_> =
            self.seats.iter().map(|seat| (seat.standing() != Standing::There, &**seat)).collect();
        if let Some((_, forked)) =
            order.iter().find(|(_, seat)| matches!(seat.standing(), Standing::Forked(_)))
        {
            return vec![forked];
        }
        order.sort_by_key(|(is_away, _)| *is_away);
        order.into_iter().map(|(_, seat)| seat).collect()
    }
}

impl Service for Named {
    // The host's key knows.
    const SALTS_LONGEST: bool = true;

    async fn sign(&self, covered: &Covered) -> Result<Signature, SignError> {
        let mut troubles = Vec::new();
        for seat in self.order() {
            match seat.sign(covered).await {
                Ok(signature) => return Ok(signature),
                Err(Failed::Unasked(error)) => troubles.push(error),
                Err(Failed::Forked(why)) => return Err(SignError::Unfit(why)),
                // It may have signed. Another one is asked under another
                // entry of the log, as after every use of which nobody saw
                // the end.
                Err(Failed::Asked(error) | Failed::Log(error)) => return Err(error),
            }
        }
        Err(all(troubles))
    }

    async fn ready(&self) -> Result<(), SignError> {
        let mut troubles = Vec::new();
        for seat in self.order() {
            match seat.ready().await {
                Ok(()) => return Ok(()),
                Err(error) => troubles.push(error),
            }
        }
        Err(all(troubles))
    }

    fn places(&self) -> Vec<KeyPlace> {
        self.seats.iter().map(|seat| seat.place()).collect()
    }
}

/// What the troubles of every host come to: only where each says that
/// somebody has to see to the key, somebody has to.
fn all(mut troubles: Vec<SignError>) -> SignError {
    if troubles.len() == 1 {
        return troubles.remove(0);
    }
    let is_unfit = troubles.iter().all(|error| matches!(error, SignError::Unfit(_)));
    let why: Vec<_> = troubles.iter().map(ToString::to_string).collect();
    match is_unfit {
        true => SignError::Unfit(why.join("; ")),
        false => SignError::Unavailable(why.join("; ")),
    }
}

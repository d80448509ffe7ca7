//! Why an image was not verified, or a signature not brought to it.

use firmseal_formats::FormatError;
use firmseal_outbound::OutboundError;

/// Why an image was not verified, or a signature not brought to it.
#[derive(Debug, thiserror::Error)]
pub enum OciError {
    /// A name of an image that is none.
    #[error("`{text}` names no image: {why}")]
    Reference {
        /// What was written, shortened.
        text: String,
        /// What is wrong.
        why: &'static str,
    },
    /// Settings that cannot be used.
    #[error("{0}")]
    Settings(String),
    /// The registry cannot be reached.
    #[error("{host}: {error}")]
    Outbound {
        /// The registry, or where it sent us.
        host: String,
        /// Why.
        error: OutboundError,
    },
    /// There is no such thing in the registry.
    #[error("there is no {what} in the registry")]
    NotFound {
        /// What was asked for.
        what: String,
    },
    /// The registry wants other credentials.
    #[error("the registry does not let us {what}: status {status}")]
    NotAllowed {
        /// What we wanted.
        what: String,
        /// The status.
        status: u16,
    },
    /// The registry cannot do what it should just now.
    #[error("the registry answered {what} with status {status}")]
    Status {
        /// What was asked.
        what: String,
        /// The status.
        status: u16,
    },
    /// The registry answered something else than was asked for: it is broken,
    /// or somebody makes it lie.
    #[error("the registry cannot be believed: {0}")]
    Untrue(String),
    /// The registry would have our credentials, or our requests, go somewhere
    /// that nobody named.
    #[error("the registry sends us to {host}, {why}")]
    Elsewhere {
        /// Where.
        host: String,
        /// What to do.
        why: &'static str,
    },
    /// What was read is malformed.
    #[error(transparent)]
    Format(#[from] FormatError),
    /// The bundle is about something else.
    #[error("the bundle is about something else than {digest}")]
    OtherImage {
        /// The image's manifest.
        digest: String,
    },
    /// An index has no image, or more than one, for the platform.
    #[error("{digest} has {count} images for {platform}")]
    Platform {
        /// The index.
        digest: String,
        /// The platform.
        platform: String,
        /// How many there are.
        count: usize,
    },
    /// Not enough of the keys have signed.
    #[error("{digest} is not signed as it has to be: {have} of {need} keys have signed{}", told(.why))]
    NotSigned {
        /// The image's manifest.
        digest: String,
        /// How many keys have.
        have: usize,
        /// How many have to.
        need: usize,
        /// Why other bundles do not count.
        why: Vec<String>,
    },
    /// Others wrote the list of an image's signatures again and again.
    #[error("others keep writing the list of this image's signatures; run the command again")]
    Contended,
}

fn told(why: &[String]) -> String {
    if why.is_empty() { String::new() } else { format!(" ({})", why.join("; ")) }
}

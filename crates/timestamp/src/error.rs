//! Why there is no timestamp, or none that counts.

/// Why there is no timestamp, or none that counts.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TimestampError {
    /// Longer than any token.
    #[error("the timestamp is longer than {} bytes", crate::TOKEN_MAX)]
    Long,
    /// Not what RFC 3161 says, or not DER.
    #[error("the timestamp is malformed: {0}")]
    Malformed(&'static str),
    /// The authority gave none.
    #[error("the authority refuses (status {status}): {text}")]
    Refused {
        /// PKIStatus.
        status: u8,
        /// What it says to people.
        text: String,
    },
    /// It is over something else.
    #[error("the timestamp is over other bytes")]
    OtherBytes,
    /// It answers another request.
    #[error("the timestamp answers another request: its nonce differs")]
    Nonce,
    /// It stands under another policy than was asked for.
    #[error("the timestamp is of policy {0}, which was not asked for")]
    Policy(String),
    /// The signature does not hold.
    #[error("the timestamp's signature does not hold")]
    Signature,
    /// The signer's certificate is missing, or is not for timestamps alone.
    #[error("the signer's certificate {0}")]
    Certificate(&'static str),
    /// No configured authority stands behind the certificate.
    #[error("no configured authority stands behind the certificate of {0}")]
    Untrusted(String),
    /// The clocks disagree.
    #[error("the timestamp says {told} and the clock here {here}; look at both")]
    Clock {
        /// What the timestamp says.
        told: String,
        /// What time it is here.
        here: String,
    },
    /// What is configured as an authority is none.
    #[error("the authority's certificate {0}")]
    Authority(&'static str),
}

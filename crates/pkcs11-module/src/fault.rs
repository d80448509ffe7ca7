//! Faults: what callers of a C interface learn, and what people do.

use cryptoki_sys::{CK_RV, CKR_FUNCTION_FAILED};

/// Why a call failed.
pub struct Fault(pub CK_RV);

/// What a call came to.
pub type Result<T = ()> = std::result::Result<T, Fault>;

impl Fault {
    /// A fault that a number does not explain. Callers show numbers alone, so
    /// the words go to stderr, as those of OpenSSL's own modules do.
    pub fn told(value: CK_RV, why: impl std::fmt::Display) -> Fault {
        let why: String = why.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        // The number is the answer; words that nobody takes are no error.
        let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("firmseal: {why}\n"));
        Fault(value)
    }

    /// The same, where PKCS#11 has no better number.
    pub fn failed(why: impl std::fmt::Display) -> Fault {
        Fault::told(CKR_FUNCTION_FAILED, why)
    }
}

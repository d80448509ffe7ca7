//! The table of key backends: a row each. Everything else that the program
//! knows of them it reads here, or asks of a key's URI.

use firmseal_keys::{KeyScheme, file_uri};

/// A row of a backend that a feature brings.
macro_rules! behind {
    ($feature:literal, $scheme:literal, $built:path) => {{
        #[cfg(feature = $feature)]
        const ROW: Row = {
            assert!(same($built.name, $scheme), "programs with and without it call it alike");
            Row::Built(&$built)
        };
        #[cfg(not(feature = $feature))]
        const ROW: Row = Row::Absent { scheme: $scheme, feature: $feature };
        ROW
    }};
}

/// Every backend. What links a C library or builds for long stands behind a
/// feature, under which the row names its scheme again, for programs without.
pub const BACKENDS: &[Row] = &[
    Row::Built(&file_uri::SCHEME),
    Row::Built(&firmseal_keys_pkcs11::SCHEME),
    Row::Built(&firmseal_keys_vault::SCHEME),
    behind!("tpm", "tpm", firmseal_keys_tpm::SCHEME),
    behind!("aws", "aws-kms", firmseal_keys_aws::SCHEME),
    Row::Built(&firmseal_keyhost::SCHEME),
];

/// A backend, as this program has it.
pub enum Row {
    /// It is built in.
    Built(&'static KeyScheme),
    /// It is not.
    #[cfg_attr(all(feature = "aws", feature = "tpm"), allow(dead_code, reason = "all are built in"))]
    Absent {
        /// What stands before the colon.
        scheme: &'static str,
        /// What it has to be built with.
        feature: &'static str,
    },
}

impl Row {
    /// What its URIs begin with.
    pub fn scheme(&self) -> &'static str {
        match self {
            Row::Built(scheme) => scheme.name,
            Row::Absent { scheme, .. } => scheme,
        }
    }

    fn written(&self) -> String {
        match self {
            Row::Built(scheme) => scheme.written.to_owned(),
            Row::Absent { scheme, .. } => format!("`{scheme}:...`"),
        }
    }
}

#[cfg(any(feature = "aws", feature = "tpm"))]
const fn same(one: &str, other: &str) -> bool {
    let (one, other) = (one.as_bytes(), other.as_bytes());
    let mut at = 0;
    while at < one.len() && at < other.len() && one[at] == other[at] {
        at += 1;
    }
    at == one.len() && at == other.len()
}

/// How keys are written, all backends in a row.
pub fn written(table: &[Row]) -> String {
    let forms: Vec<String> = table.iter().map(Row::written).collect();
    match forms.split_last() {
        Some((last, [])) => last.clone(),
        Some((last, others)) => format!("{} or {last}", others.join(", ")),
        None => String::new(),
    }
}

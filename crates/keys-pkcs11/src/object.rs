//! Objects: finding the one private key, and its public half.

use cryptoki::mechanism::dsa::{HedgeType, SignAdditionalContext};
use cryptoki::mechanism::eddsa::{EddsaParams, EddsaSignatureScheme};
use cryptoki::mechanism::rsa::{PkcsMgfType, PkcsPssParams};
use cryptoki::mechanism::{Mechanism, MechanismType};
use cryptoki::object::{
    Attribute, AttributeType, KeyType, MlDsaParameterSetType, ObjectClass, ObjectHandle, ParameterSetType,
};
use cryptoki::session::Session;
use firmseal_core::mldsa::Set;
use firmseal_manifest::{KeyAlgorithm, KeyError, PublicKey, Tbs};

use crate::error::Pkcs11Error;
use crate::module::enumerate;
use crate::uri::{ObjectType, Pkcs11Uri};

/// CKA_EC_PARAMS in DER (PKCS #11 v3.1 §6.3.3): P-256 and P-384 by their
/// object identifiers. Ed25519 goes by that of RFC 8410, by GnuPG's older
/// one, or by its name, depending on the module's age.
pub(crate) const P256: &[u8] = &[0x06, 0x08, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x03, 0x01, 0x07];
pub(crate) const P384: &[u8] = &[0x06, 0x05, 0x2b, 0x81, 0x04, 0x00, 0x22];
pub(crate) const ED25519: &[u8] = &[0x06, 0x03, 0x2b, 0x65, 0x70];
const ED25519_GNU: &[u8] = &[0x06, 0x09, 0x2b, 0x06, 0x01, 0x04, 0x01, 0xda, 0x47, 0x0f, 0x01];
const ED25519_NAME: &[u8] = b"\x13\x0cedwards25519";

/// How well a private key is kept, as the token itself says.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Protection {
    /// Its value cannot be read.
    pub sensitive: bool,
    /// That was so from its first moment.
    pub always_sensitive: bool,
    /// It can be wrapped and taken out.
    pub extractable: bool,
    /// It never could.
    pub never_extractable: bool,
    /// It was generated in the token.
    pub local: bool,
    /// It may sign.
    pub sign: bool,
    /// Each signature wants the PIN again.
    pub always_authenticate: bool,
}

impl Protection {
    /// What lets the key out of the token, if anything does.
    pub fn weakness(&self) -> Option<&'static str> {
        match self {
            Protection { extractable: true, .. } => Some("it is extractable"),
            Protection { sensitive: false, .. } => Some("its value can be read"),
            Protection { never_extractable: false, .. } => Some("it was extractable once"),
            Protection { always_sensitive: false, .. } => Some("its value could be read once"),
            Protection { local: false, .. } => Some("it was not made in the token"),
            _ => None,
        }
    }
}

/// A private key object with what can be read of it.
pub(crate) struct PrivateKey {
    pub(crate) handle: ObjectHandle,
    pub(crate) label: Vec<u8>,
    pub(crate) id: Vec<u8>,
    pub(crate) protection: Protection,
    key_type: Option<KeyType>,
    parts: Parts,
}

#[derive(Default)]
struct Parts {
    ec_params: Option<Vec<u8>>,
    ec_point: Option<Vec<u8>>,
    modulus: Option<Vec<u8>>,
    exponent: Option<Vec<u8>>,
    info: Option<Vec<u8>>,
    /// CKA_PARAMETER_SET and CKA_VALUE of a public ML-DSA key (PKCS #11 v3.2
    /// §6.67.2).
    set: Option<ParameterSetType>,
    value: Option<Vec<u8>>,
}

impl PrivateKey {
    fn read(session: &Session, handle: ObjectHandle) -> Result<PrivateKey, Pkcs11Error> {
        let mut key = PrivateKey {
            handle,
            label: Vec::new(),
            id: Vec::new(),
            protection: Protection::default(),
            key_type: None,
            parts: Parts::default(),
        };
        let wanted = [
            AttributeType::Label,
            AttributeType::Id,
            AttributeType::KeyType,
            AttributeType::Sensitive,
            AttributeType::AlwaysSensitive,
            AttributeType::Extractable,
            AttributeType::NeverExtractable,
            AttributeType::Local,
            AttributeType::Sign,
            AttributeType::AlwaysAuthenticate,
        ];
        for attribute in session.get_attributes(handle, &wanted)? {
            let protection = &mut key.protection;
            match attribute {
                Attribute::Label(label) => key.label = label,
                Attribute::Id(id) => key.id = id,
                Attribute::KeyType(key_type) => key.key_type = Some(key_type),
                Attribute::Sensitive(yes) => protection.sensitive = yes,
                Attribute::AlwaysSensitive(yes) => protection.always_sensitive = yes,
                Attribute::Extractable(yes) => protection.extractable = yes,
                Attribute::NeverExtractable(yes) => protection.never_extractable = yes,
                Attribute::Local(yes) => protection.local = yes,
                Attribute::Sign(yes) => protection.sign = yes,
                Attribute::AlwaysAuthenticate(yes) => protection.always_authenticate = yes,
                _ => {}
            }
        }
        key.parts = Parts::read(session, handle)?;
        Ok(key)
    }

    /// The URI that names this key within the token of `token`.
    pub(crate) fn uri(&self, token: &Pkcs11Uri) -> Pkcs11Uri {
        let label = String::from_utf8(self.label.clone()).ok();
        Pkcs11Uri {
            object: label.filter(|label| !label.is_empty() && !label.contains('\0')),
            id: Some(self.id.clone()).filter(|id| !id.is_empty()),
            object_type: Some(ObjectType::Private),
            ..token.clone()
        }
    }

    /// The public half: from the public key object with the same id, or
    /// from what the private object itself tells.
    pub(crate) fn public_key(&self, session: &Session) -> Result<PublicKey, Pkcs11Error> {
        let key_type = self.key_type.ok_or(Pkcs11Error::NoPublicKey)?;
        let mut template = vec![
            Attribute::Token(true),
            Attribute::Class(ObjectClass::PUBLIC_KEY),
            Attribute::KeyType(key_type),
        ];
        // Objects of one pair share their id (PKCS #11 v3.1 §4.8); where a
        // module leaves it empty, the label has to do.
        match (self.id.is_empty(), self.label.is_empty()) {
            (false, _) => template.push(Attribute::Id(self.id.clone())),
            (true, false) => template.push(Attribute::Label(self.label.clone())),
            (true, true) => return self.parts.public_key(key_type),
        }
        let mut found: Option<PublicKey> = None;
        for handle in session.find_objects(&template)? {
            let key = Parts::read(session, handle)?.public_key(key_type)?;
            if found.as_ref().is_some_and(|other| *other != key) {
                let candidates = "two different public keys with the id of the private one".to_owned();
                return Err(Pkcs11Error::AmbiguousKey { candidates });
            }
            found = Some(key);
        }
        found.map_or_else(|| self.parts.public_key(key_type), Ok)
    }
}

impl Parts {
    fn read(session: &Session, handle: ObjectHandle) -> Result<Parts, Pkcs11Error> {
        let mut parts = Parts::default();
        let wanted = [
            AttributeType::EcParams,
            AttributeType::EcPoint,
            AttributeType::Modulus,
            AttributeType::PublicExponent,
            AttributeType::PublicKeyInfo,
            AttributeType::ParameterSet,
        ];
        // One at a time: modules disagree about which error a question for
        // an attribute of another key type deserves, and none is fatal.
        for attribute in wanted {
            let Ok(values) = session.get_attributes(handle, &[attribute]) else { continue };
            for value in values {
                match value {
                    Attribute::EcParams(bytes) => parts.ec_params = Some(bytes),
                    Attribute::EcPoint(bytes) => parts.ec_point = Some(bytes),
                    Attribute::Modulus(bytes) => parts.modulus = Some(bytes),
                    Attribute::PublicExponent(bytes) => parts.exponent = Some(bytes),
                    Attribute::PublicKeyInfo(bytes) => parts.info = Some(bytes),
                    Attribute::ParameterSet(set) => parts.set = Some(set),
                    _ => {}
                }
            }
        }
        // Of a public key only: of a private one it is the secret itself,
        // and nobody asks for that, however well it is guarded.
        let class = session.get_attributes(handle, &[AttributeType::Class]);
        let is_public = class.is_ok_and(|class| class.contains(&Attribute::Class(ObjectClass::PUBLIC_KEY)));
        if parts.set.is_some() && is_public {
            for value in session.get_attributes(handle, &[AttributeType::Value])? {
                if let Attribute::Value(bytes) = value {
                    parts.value = Some(bytes);
                }
            }
        }
        Ok(parts)
    }

    fn public_key(&self, key_type: KeyType) -> Result<PublicKey, Pkcs11Error> {
        let info = self.info.as_deref().filter(|info| !info.is_empty());
        let from_info = || match info {
            Some(info) => Ok(PublicKey::from_spki(info)?),
            None => Err(Pkcs11Error::NoPublicKey),
        };
        if key_type == KeyType::RSA {
            return match (self.modulus.as_deref(), self.exponent.as_deref()) {
                (Some(n), Some(e)) if !e.is_empty() => Ok(PublicKey::from_rsa(n, e)?),
                _ => from_info(),
            };
        }
        if key_type == KeyType::ML_DSA {
            return match (self.set, self.value.as_deref()) {
                (Some(set), Some(value)) => Ok(PublicKey::from_ml_dsa(ml_dsa(set)?, value)?),
                _ => from_info(),
            };
        }
        if key_type != KeyType::EC && key_type != KeyType::EC_EDWARDS {
            return Err(KeyError::Unsupported(format!("PKCS#11 key type {key_type}")).into());
        }
        let Some(point) = self.ec_point.as_deref() else { return from_info() };
        match self.ec_params.as_deref() {
            Some(P256) => Ok(PublicKey::from_point(KeyAlgorithm::P256, unwrap(point, 65)?)?),
            Some(P384) => Ok(PublicKey::from_point(KeyAlgorithm::P384, unwrap(point, 97)?)?),
            Some(ED25519 | ED25519_GNU | ED25519_NAME) => {
                let raw = unwrap(point, 32)?.try_into().map_err(|_| KeyError::Malformed)?;
                Ok(PublicKey::from_ed25519(raw)?)
            }
            _ => Err(KeyError::Unsupported("another curve".to_owned()).into()),
        }
    }
}

/// Which ML-DSA a token means.
fn ml_dsa(set: ParameterSetType) -> Result<Set, KeyError> {
    ML_DSA
        .iter()
        .find(|(_, known)| ParameterSetType::from(*known) == set)
        .map(|(set, _)| *set)
        .ok_or_else(|| KeyError::Unsupported("an unknown parameter set of ML-DSA".to_owned()))
}

/// What tokens call the parameter sets of ML-DSA.
pub(crate) const ML_DSA: [(Set, MlDsaParameterSetType); 3] = [
    (Set::MlDsa44, MlDsaParameterSetType::ML_DSA_44),
    (Set::MlDsa65, MlDsaParameterSetType::ML_DSA_65),
    (Set::MlDsa87, MlDsaParameterSetType::ML_DSA_87),
];

/// CKA_EC_POINT is a point inside a DER OCTET STRING in most modules and
/// the bare point in others. The lengths tell them apart for good: 65, 97
/// and 32 against 67, 99 and 34.
fn unwrap(value: &[u8], len: usize) -> Result<&[u8], KeyError> {
    match value {
        bare if bare.len() == len => Ok(bare),
        [0x04, inner, point @ ..] if usize::from(*inner) == len && point.len() == len => Ok(point),
        _ => Err(KeyError::Malformed),
    }
}

/// All private keys that match the URI.
pub(crate) fn private_keys(session: &Session, uri: &Pkcs11Uri) -> Result<Vec<PrivateKey>, Pkcs11Error> {
    let mut template = vec![Attribute::Token(true), Attribute::Class(ObjectClass::PRIVATE_KEY)];
    if let Some(label) = &uri.object {
        template.push(Attribute::Label(label.as_bytes().to_vec()));
    }
    if let Some(id) = &uri.id {
        template.push(Attribute::Id(id.clone()));
    }
    let handles = session.find_objects(&template)?;
    handles.into_iter().map(|handle| PrivateKey::read(session, handle)).collect()
}

/// The one private key that matches the URI. `token` names its token, for
/// the list of candidates.
pub(crate) fn private_key(
    session: &Session,
    uri: &Pkcs11Uri,
    token: &Pkcs11Uri,
) -> Result<PrivateKey, Pkcs11Error> {
    let list = |keys: &[PrivateKey]| enumerate(keys.iter().map(|key| key.uri(token).to_string()));
    let mut keys = private_keys(session, uri)?;
    if keys.len() > 1 {
        return Err(Pkcs11Error::AmbiguousKey { candidates: list(&keys) });
    }
    match keys.pop() {
        Some(key) => Ok(key),
        None => {
            let present = private_keys(session, &Pkcs11Uri::default())?;
            Err(Pkcs11Error::NoKey { present: list(&present) })
        }
    }
}

/// The mechanism that a key of this algorithm signs an input with; without
/// one, what it has to sign with to be of use here. Digests are
/// computed here: not every token has the mechanisms that hash (SoftHSM
/// lacks CKM_ECDSA_SHA256), and 64 KiB need not travel to an HSM.
pub(crate) fn mechanism(algorithm: KeyAlgorithm, tbs: Option<&Tbs>) -> Option<Mechanism<'static>> {
    Some(match algorithm {
        // `public_key` reads none.
        KeyAlgorithm::Lms(_) => return None,
        // No context, and hedged where the token can (FIPS 204 §3.4).
        KeyAlgorithm::MlDsa(_) => Mechanism::MlDsa(SignAdditionalContext::new(HedgeType::Preferred, None)),
        KeyAlgorithm::P256 | KeyAlgorithm::P384 => Mechanism::Ecdsa,
        KeyAlgorithm::Ed25519 => Mechanism::Eddsa(EddsaParams::new(EddsaSignatureScheme::Ed25519)),
        KeyAlgorithm::Rsa(_) if matches!(tbs, Some(Tbs::Pkcs1(_))) => Mechanism::RsaPkcs,
        KeyAlgorithm::Rsa(bits) => Mechanism::RsaPkcsPss(PkcsPssParams {
            hash_alg: MechanismType::SHA256,
            mgf: PkcsMgfType::MGF1_SHA256,
            s_len: match tbs {
                // What is left beside the hash and two bytes (RFC 8017 §9.1.1).
                Some(Tbs::PssMax(_)) => u64::from(bits / 8).saturating_sub(34).into(),
                _ => 32.into(),
            },
        }),
    })
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    fn parts(params: &[u8], point: &[u8]) -> Parts {
        Parts { ec_params: Some(params.to_vec()), ec_point: Some(point.to_vec()), ..Parts::default() }
    }

    #[test]
    fn both_forms_of_a_point_are_one_key() {
        for (params, key_type, point) in [
            (P256, KeyType::EC, [&[4][..], &[7; 64]].concat()),
            (P384, KeyType::EC, [&[4][..], &[7; 96]].concat()),
            (ED25519, KeyType::EC_EDWARDS, vec![7; 32]),
            (ED25519_GNU, KeyType::EC_EDWARDS, vec![7; 32]),
            (ED25519_NAME, KeyType::EC_EDWARDS, vec![7; 32]),
            // A raw key that looks like the head of an OCTET STRING.
            (ED25519, KeyType::EC_EDWARDS, [&[4, 30][..], &[7; 30]].concat()),
        ] {
            let wrapped = [&[4, point.len() as u8][..], &point].concat();
            let bare = parts(params, &point).public_key(key_type).unwrap();
            assert_eq!(parts(params, &wrapped).public_key(key_type).unwrap(), bare);
            for bad in [&point[1..], &wrapped[..wrapped.len() - 1], &[]] {
                assert!(parts(params, bad).public_key(key_type).is_err());
            }
        }
    }

    #[test]
    fn an_ml_dsa_key_is_its_set_and_its_value() {
        for (set, named) in ML_DSA {
            let key = |named, length| {
                let value = Some(vec![7; length]);
                Parts { set: Some(named), value, ..Parts::default() }.public_key(KeyType::ML_DSA)
            };
            let found = key(named.into(), set.key_len()).unwrap();
            assert_eq!(found.algorithm(), KeyAlgorithm::MlDsa(set));
            assert!(key(named.into(), set.key_len() - 1).is_err());
            let others = ML_DSA.iter().filter(|(other, _)| *other != set);
            assert!(others.into_iter().all(|(_, other)| key((*other).into(), set.key_len()).is_err()));
            assert_eq!(mechanism(found.algorithm(), None).unwrap().mechanism_type(), MechanismType::ML_DSA);
        }
        assert!(matches!(Parts::default().public_key(KeyType::ML_DSA), Err(Pkcs11Error::NoPublicKey)));
    }

    #[test]
    fn a_key_that_can_leave_is_called_weak() {
        let good = Protection {
            sensitive: true,
            always_sensitive: true,
            extractable: false,
            never_extractable: true,
            local: true,
            sign: true,
            always_authenticate: false,
        };
        assert_eq!(good.weakness(), None);
        assert!(Protection { extractable: true, ..good }.weakness().is_some());
        assert!(Protection { local: false, ..good }.weakness().is_some());
        assert!(Protection::default().weakness().is_some());
    }
}

//! Parameters of capsules, and what they make of a payload or hold against a
//! capsule.

use uuid::Uuid;

use super::frame::{
    AUTHENTICATION, Capsule, Header, INITIATE_RESET, Item, ItemHeader, PERSIST_ACROSS_RESET,
    POPULATE_SYSTEM_TABLE,
};
use super::payload_header::PayloadHeader;
use crate::cms::{attributes, certificate};
use crate::error::FormatError;
use crate::parameters::{Parameter, Parameters, bad};

pub(super) const PARAMETERS: &[Parameter] = &[
    certificate::PARAMETER,
    attributes::PARAMETERS[0],
    Parameter {
        name: "guid",
        about: "type of the image, by which firmware finds what it updates; needed to wrap a payload",
    },
    Parameter { name: "index", about: "index of the image that is updated, 1 (default) to 255" },
    Parameter {
        name: "hardware-instance",
        about: "the one device that is updated, of several alike; 0 (default) is all of them",
    },
    Parameter {
        name: "flags",
        about: "of the capsule's header: 0x10000 (default) persists across a reset, with 0x40000 it resets by itself; \
                the lower 16 bits are the maker's",
    },
    Parameter {
        name: "firmware-version",
        about: "version of the firmware as a number; puts edk2's FMP payload header before a payload",
    },
    Parameter {
        name: "lowest-supported-version",
        about: "with firmware-version: the lowest that a device takes after this one; 0 if not given",
    },
];

/// Parsed parameters.
pub(super) struct Options {
    guid: Option<Uuid>,
    index: Option<u8>,
    hardware_instance: Option<u64>,
    flags: Option<u32>,
    versions: Option<PayloadHeader>,
}

impl Options {
    pub(super) fn parse(parameters: &Parameters) -> Result<Options, FormatError> {
        parameters.check(PARAMETERS)?;
        let guid = parameters.get("guid").map(|text| {
            // The hyphenated form alone: others are of another byte order.
            let guid = Uuid::try_parse(text)
                .ok()
                .filter(|guid| guid.hyphenated().to_string().eq_ignore_ascii_case(text));
            guid.ok_or_else(|| bad("guid", "write it as 09d7cf52-0720-4710-91d1-08469b7fe9c8".to_owned()))
        });
        let index = parameters.number("index", u64::from(u8::MAX))?;
        if index == Some(0) {
            return Err(bad("index", "images count from 1".to_owned()));
        }
        let flags = parameters.number("flags", u64::from(u32::MAX))?;
        let known = u64::from(u16::MAX) | u64::from(PERSIST_ACROSS_RESET | INITIATE_RESET);
        if flags.is_some_and(|flags| flags & !known != 0) {
            return Err(bad(
                "flags",
                format!("use bits of {known:#x}; {POPULATE_SYSTEM_TABLE:#x} is none of these capsules'"),
            ));
        }
        // "A capsule which has the CAPSULE_FLAGS_INITIATE_RESET Flag must
        // have CAPSULE_FLAGS_PERSIST_ACROSS_RESET set in its header as well"
        // (UEFI 2.10 §8.5.3.1).
        if flags.is_some_and(|flags| {
            flags & u64::from(INITIATE_RESET) != 0 && flags & u64::from(PERSIST_ACROSS_RESET) == 0
        }) {
            return Err(bad("flags", "0x40000 goes with 0x10000".to_owned()));
        }
        let version = parameters.number("firmware-version", u64::from(u32::MAX))?;
        let lowest = parameters.number("lowest-supported-version", u64::from(u32::MAX))?;
        let versions = match (version, lowest) {
            (None, None) => None,
            (None, Some(_)) => {
                return Err(bad("lowest-supported-version", "it goes with firmware-version".to_owned()));
            }
            (Some(version), lowest) => Some(
                PayloadHeader { version: version as u32, lowest: lowest.unwrap_or(0) as u32 }.checked()?,
            ),
        };
        Ok(Options {
            guid: guid.transpose()?,
            index: index.map(|index| index as u8),
            hardware_instance: parameters.number("hardware-instance", u64::MAX)?,
            flags: flags.map(|flags| flags as u32),
            versions,
        })
    }

    /// The headers around a payload, as mkeficapsule writes them.
    pub(super) fn frame(&self) -> Result<(Header, ItemHeader), FormatError> {
        let type_id = self.guid.ok_or_else(|| bad("guid", "needed to wrap a payload".to_owned()))?;
        let header = Header { len: 28, flags: self.flags.unwrap_or(PERSIST_ACROSS_RESET) };
        let item = ItemHeader {
            version: 3,
            type_id,
            index: self.index.unwrap_or(1),
            hardware_instance: self.hardware_instance.unwrap_or(0),
            support: AUTHENTICATION,
        };
        Ok((header, item))
    }

    /// The FMP payload header that a payload gets.
    pub(super) fn payload_header(&self) -> Option<PayloadHeader> {
        self.versions
    }

    /// Holds them against a capsule that is there already, which keeps what it
    /// says.
    pub(super) fn agree(
        &self,
        capsule: &Capsule,
        item: &Item,
        inside: Option<PayloadHeader>,
    ) -> Result<(), FormatError> {
        let same = |field, inside: String, wanted: Option<String>| match wanted {
            Some(wanted) if wanted != inside => Err(FormatError::Disagrees { field, inside, wanted }),
            _ => Ok(()),
        };
        let header = &item.header;
        same("image type", header.type_id.to_string(), self.guid.map(|guid| guid.to_string()))?;
        same("image index", header.index.to_string(), self.index.map(|index| index.to_string()))?;
        let instance = self.hardware_instance.map(|instance| instance.to_string());
        same("hardware instance", header.hardware_instance.to_string(), instance)?;
        let flags = self.flags.map(|flags| format!("{flags:#x}"));
        same("flags", format!("{:#x}", capsule.header.flags), flags)?;
        let told = |versions: PayloadHeader| format!("{}, lowest {}", versions.version, versions.lowest);
        let inside = inside.map_or_else(|| "none".to_owned(), told);
        same("firmware version", inside, self.versions.map(told))
    }
}

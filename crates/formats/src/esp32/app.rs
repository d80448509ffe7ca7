//! What an image says of itself: esp_app_desc_t of an app (esp_app_desc.h), or
//! esp_bootloader_desc_t of a bootloader (esp_bootloader_desc.h).

use super::NAME;
use super::image::{Image, read};
use crate::error::FormatError;
use crate::hash::hex;
use crate::inspection::Inspection;
use crate::source::Source;

/// ESP_APP_DESC_MAGIC_WORD.
const APP: [u8; 4] = 0xabcd_5432u32.to_le_bytes();
const APP_LEN: usize = 256;
/// ESP_BOOTLOADER_DESC_MAGIC_BYTE.
const BOOTLOADER: u8 = 0x50;
const BOOTLOADER_LEN: usize = 80;

/// The description of an app.
pub(super) struct App {
    /// The version, as its build wrote it.
    pub(super) version: String,
    /// secure_version: what the device's fuses count.
    pub(super) secure_version: u32,
    project: String,
    built: String,
    idf: String,
    elf_sha256: String,
}

impl App {
    /// That of an image, if it is an app. The bootloader reads it from the
    /// start of the first segment (bootloader_common_get_partition_description)
    /// and esptool from the first one in flash: where these differ, so would
    /// the version that is told and the one that counts.
    pub(super) fn read(source: &dyn Source, image: &Image) -> Result<Option<App>, FormatError> {
        let mut app = None;
        for (index, segment) in image.segments.iter().enumerate() {
            let (start, end) = (segment.data.start, segment.data.end);
            if end - start < 4 || read::<4>(source, start, end, "a segment")? != APP {
                continue;
            }
            if index > 0 {
                return Err(FormatError::malformed(
                    NAME,
                    "a segment but the first begins with an app's description, which not every reader finds",
                ));
            }
            app = Some(App::of(&read(source, start, end, "the app's description")?)?);
        }
        Ok(app)
    }

    fn of(bytes: &[u8; APP_LEN]) -> Result<App, FormatError> {
        Ok(App {
            secure_version: u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]),
            version: text(&bytes[16..48])?,
            project: text(&bytes[48..80])?,
            built: format!("{} {}", text(&bytes[96..112])?, text(&bytes[80..96])?),
            idf: text(&bytes[112..144])?,
            elf_sha256: hex(&bytes[144..176]),
        })
    }

    /// The version in three numbers, if it can be told in them: builds write
    /// `v1.2.3`, `v1.2-5-g1234567-dirty`, or `1` where nobody said anything.
    pub(super) fn semver(&self) -> Option<semver::Version> {
        let text = self.version.strip_prefix(['v', 'V']).unwrap_or(&self.version);
        let end = text.find(['-', '+']).unwrap_or(text.len());
        let (core, rest) = text.split_at(end);
        let missing = 2usize.checked_sub(core.matches('.').count())?;
        semver::Version::parse(&format!("{core}{}{rest}", ".0".repeat(missing))).ok()
    }

    pub(super) fn describe(&self, inspection: &mut Inspection) {
        inspection.version = self.semver().map(|version| version.to_string());
        inspection.epoch = Some(u64::from(self.secure_version));
        inspection.field("app version", &self.version);
        inspection.field("project", &self.project);
        inspection.field("built", &self.built);
        inspection.field("esp-idf", &self.idf);
        inspection.field("elf sha256", &self.elf_sha256);
    }
}

/// Describes a bootloader, if the first segment begins as one's does.
pub(super) fn bootloader(
    source: &dyn Source,
    image: &Image,
    inspection: &mut Inspection,
) -> Result<(), FormatError> {
    let Some(data) = image.segments.first().map(|segment| segment.data.clone()) else { return Ok(()) };
    if data.end - data.start < BOOTLOADER_LEN as u64 {
        return Ok(());
    }
    let bytes: [u8; BOOTLOADER_LEN] = read(source, data.start, data.end, "the bootloader's description")?;
    // One byte is not much of a sign: the texts have to be texts.
    let (idf, built) = (text(&bytes[8..40]), text(&bytes[40..64]));
    if let (BOOTLOADER, [0, 0], Ok(idf), Ok(built)) = (bytes[0], [bytes[1], bytes[2]], idf, built) {
        let version = u32::from_le_bytes([bytes[4], bytes[5], bytes[6], bytes[7]]);
        inspection.field("bootloader version", version.to_string());
        inspection.field("bootloader secure version", bytes[3].to_string());
        inspection.field("esp-idf", idf);
        inspection.field("built", built);
    }
    Ok(())
}

/// A text in a field of fixed size: printable, with zeros to its end. Behind
/// the first zero something else could stand that another reader shows.
fn text(field: &[u8]) -> Result<String, FormatError> {
    let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
    let (text, rest) = field.split_at(end);
    match text.iter().all(|byte| matches!(byte, b' '..=b'~')) && rest.iter().all(|byte| *byte == 0) {
        true => Ok(String::from_utf8_lossy(text).into_owned()),
        false => {
            Err(FormatError::malformed(NAME, "a text in its description is no ASCII with zeros behind it"))
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn versions_of_builds_are_told_in_three_numbers_or_not_at_all() {
        for (text, expected) in [
            ("1.2.3", Some("1.2.3")),
            ("v1.2.3", Some("1.2.3")),
            ("V1.2.3", Some("1.2.3")),
            ("1", Some("1.0.0")),
            ("v5.1", Some("5.1.0")),
            ("v5.1-dev-123-gabc1234-dirty", Some("5.1.0-dev-123-gabc1234-dirty")),
            ("v1.2.3-5-g1234567+board.7", Some("1.2.3-5-g1234567+board.7")),
            ("", None),
            ("v", None),
            ("vv1.2.3", None),
            ("1.2.3.4", None),
            ("1.02.3", None),
            ("1..3", None),
            ("1.", None),
            ("abc1234", None),
            ("1.2.3 rc1", None),
        ] {
            let mut bytes = [0; APP_LEN];
            bytes[16..16 + text.len()].copy_from_slice(text.as_bytes());
            let version = App::of(&bytes).unwrap().semver().map(|version| version.to_string());
            assert_eq!(version.as_deref(), expected, "{text:?}");
        }
    }

    #[test]
    fn texts_are_texts() {
        assert_eq!(text(b"abcd").unwrap(), "abcd");
        assert_eq!(text(b"ab\0\0").unwrap(), "ab");
        for bad in [&b"a\0b\0"[..], b"a\nb\0", b"\xff\xff\xff\xff", b"\xc3\xa4\0\0"] {
            assert!(text(bad).is_err(), "{bad:?}");
        }
    }
}

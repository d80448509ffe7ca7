//! Authoring of root documents; the checks are in firmseal-core.

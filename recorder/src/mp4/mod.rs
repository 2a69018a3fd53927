//! Fragmented MP4 (ISO/IEC 14496-12, -14, -15): writing, scanning, finishing. No clock; the only I/O is `scan` and `finish`.

pub(crate) mod bits;
pub(crate) mod boxes;
pub(crate) mod entry;
pub(crate) mod finish;
pub(crate) mod fragment;
pub(crate) mod init;
pub(crate) mod moof;
pub(crate) mod params;
pub(crate) mod scan;

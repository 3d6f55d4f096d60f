//! What files hold: every sector says which step wrote it, so that it can be told from where it stands alone.

use alloc::vec::Vec;

/// The unit of contents, in bytes: a disk writes a sector wholly or not at all.
pub const SECTOR: usize = 512;

const DATA: [u8; 8] = *b"storm\0\n\xff";
const PROMISED: [u8; 8] = *b"kept\0\n\xff\xfe";

/// Fills `bytes` with what `step` writes at `at` bytes from the start of a file.
pub fn fill(step: u64, at: u64, bytes: &mut [u8]) {
    let (mut at, mut rest) = (at, bytes);
    while !rest.is_empty() {
        let within = (at % SECTOR as u64) as usize;
        let count = rest.len().min(SECTOR - within);
        let (now, later) = rest.split_at_mut(count);
        let sector = sector(step, at / SECTOR as u64);
        now.copy_from_slice(&sector[within..within + now.len()]);
        at += now.len() as u64;
        rest = later;
    }
}

fn sector(step: u64, index: u64) -> [u8; SECTOR] {
    let mut bytes = [0; SECTOR];
    let mut state = step.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ index.rotate_left(32);
    for word in bytes.chunks_exact_mut(8) {
        state = state.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(0x1405_7b7e_f767_814f);
        word.copy_from_slice(&state.to_le_bytes());
    }
    bytes[..8].copy_from_slice(&DATA);
    bytes[8..16].copy_from_slice(&step.to_le_bytes());
    bytes
}

/// The step that a sector says it is of.
pub(crate) fn step_of(sector: &[u8]) -> Option<u64> {
    number_after(sector, DATA)
}

/// The sector that the file [`MARK`](crate::MARK) gets once a promise for `step` was given, and before the next step.
#[must_use]
pub fn mark(step: u64) -> Vec<u8> {
    let mut bytes = Vec::from(PROMISED);
    bytes.extend_from_slice(&step.to_le_bytes());
    bytes.resize(SECTOR, 0);
    bytes
}

/// The step of the promise whose mark a sector is: where a disk was asked to write it, the promise had been given.
#[must_use]
pub fn marked(sector: &[u8]) -> Option<u64> {
    number_after(sector, PROMISED)
}

fn number_after(sector: &[u8], magic: [u8; 8]) -> Option<u64> {
    let number = sector.strip_prefix(&magic)?.first_chunk()?;
    Some(u64::from_le_bytes(*number))
}

//! The checksums of ext4 and jbd2: CRC-32C (Castagnoli, reflected) and, for old group descriptors, CRC-16.
//!
//! As on disk, neither inverts its input or output: chains start from `!0`, or from another checksum as their seed.

/// The polynomial of CRC-32C, reflected.
const POLYNOMIAL: u32 = 0x82f6_3b78;

const fn tables() -> [[u32; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut i = 0;
    while i < 256 {
        let mut crc = i as u32;
        let mut bit = 0;
        while bit < 8 {
            crc = if crc & 1 != 0 { crc >> 1 ^ POLYNOMIAL } else { crc >> 1 };
            bit += 1;
        }
        tables[0][i] = crc;
        i += 1;
    }
    let mut table = 1;
    while table < 8 {
        let mut i = 0;
        while i < 256 {
            let previous = tables[table - 1][i];
            tables[table][i] = previous >> 8 ^ tables[0][(previous & 0xff) as usize];
            i += 1;
        }
        table += 1;
    }
    tables
}

static TABLES: [[u32; 256]; 8] = tables();

/// CRC-32C of `bytes` continued from `crc`, eight bytes a step. Zero in a build for the fuzzer, which else would seldom get past a
/// checksum.
pub(crate) fn crc32c(mut crc: u32, bytes: &[u8]) -> u32 {
    if cfg!(fuzzing) {
        return 0;
    }
    let mut chunks = bytes.chunks_exact(8);
    for chunk in &mut chunks {
        let low = u32::from_le_bytes([chunk[0], chunk[1], chunk[2], chunk[3]]) ^ crc;
        let high = u32::from_le_bytes([chunk[4], chunk[5], chunk[6], chunk[7]]);
        let at = |table: usize, word: u32, shift: u32| TABLES[table][(word >> shift & 0xff) as usize];
        crc = at(7, low, 0)
            ^ at(6, low, 8)
            ^ at(5, low, 16)
            ^ at(4, low, 24)
            ^ at(3, high, 0)
            ^ at(2, high, 8)
            ^ at(1, high, 16)
            ^ at(0, high, 24);
    }
    for &byte in chunks.remainder() {
        crc = crc >> 8 ^ TABLES[0][((crc ^ u32::from(byte)) & 0xff) as usize];
    }
    crc
}

/// The state that `bytes` lead from to `crc`: [`crc32c`] backwards.
pub(crate) fn crc32c_before(mut crc: u32, bytes: &[u8]) -> u32 {
    for &byte in bytes.iter().rev() {
        for _ in 0..8 {
            // The polynomial's highest bit is set, so the highest bit tells what the step took.
            crc = if crc & 0x8000_0000 != 0 { (crc ^ POLYNOMIAL) << 1 | 1 } else { crc << 1 };
        }
        crc ^= u32::from(byte);
    }
    crc
}

/// CRC-16 (polynomial 0x8005, reflected) of `bytes` continued from `crc`.
pub(crate) fn crc16(mut crc: u16, bytes: &[u8]) -> u16 {
    for &byte in bytes {
        crc ^= u16::from(byte);
        for _ in 0..8 {
            crc = if crc & 1 != 0 { crc >> 1 ^ 0xa001 } else { crc >> 1 };
        }
    }
    crc
}

/// CRC-32 (big-endian, polynomial 0x04c11db7) continued from `crc`: the first version of jbd2's checksums.
pub(crate) fn crc32_be(mut crc: u32, bytes: &[u8]) -> u32 {
    for &byte in bytes {
        crc ^= u32::from(byte) << 24;
        for _ in 0..8 {
            crc = if crc & 0x8000_0000 != 0 { crc << 1 ^ 0x04c1_1db7 } else { crc << 1 };
        }
    }
    crc
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn check_values_are_those_of_the_catalogue() {
        assert_eq!(!crc32c(!0, b"123456789"), 0xe306_9283);
        assert_eq!(crc16(0, b"123456789"), 0xbb3d);
        assert_eq!(!crc32_be(!0, b"123456789"), 0xfc89_1918);
    }

    #[test]
    fn a_chain_of_parts_equals_the_whole() {
        let bytes: std::vec::Vec<u8> = (0..=255).collect();
        for cut in 0..bytes.len() {
            assert_eq!(crc32c(crc32c(1, &bytes[..cut]), &bytes[cut..]), crc32c(1, &bytes));
            assert_eq!(crc32c_before(crc32c(1, &bytes), &bytes[cut..]), crc32c(1, &bytes[..cut]));
        }
    }
}

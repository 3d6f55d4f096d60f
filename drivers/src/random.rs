//! Random numbers: a generator on ChaCha20 (RFC 8439), seeded by the processor or a virtio device.
//!
//! The key is replaced by the first bytes of every block, so that what was given out cannot be computed from a later
//! state. Without a source of entropy the seed is the jitter of the time-stamp counter and the boot's time:
//! enough for hash seeds, not for keys, and the kernel says so.

use core::arch::asm;

use crate::clock::tsc;

/// The quality of a seed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// The processor's `rdrand`.
    Processor,
    /// A virtio entropy device.
    Device,
    /// Timing alone: guessable.
    Timing,
}

/// A generator.
pub struct Random {
    key: [u32; 8],
    counter: u64,
    source: Source,
}

impl core::fmt::Debug for Random {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.debug_struct("Random").field("source", &self.source).finish_non_exhaustive()
    }
}

/// Bytes of a block that are given out; the others become the next key.
const OUTPUT: usize = 32;

impl Random {
    /// A generator seeded by timing alone.
    #[must_use]
    pub const fn new() -> Self {
        Self { key: [0; 8], counter: 0, source: Source::Timing }
    }

    /// Where its seed is from.
    #[must_use]
    pub const fn source(&self) -> Source {
        self.source
    }

    /// Mixes `bytes` into the key.
    pub fn seed(&mut self, bytes: &[u8], source: Source) {
        for chunk in bytes.chunks(32) {
            for (index, byte) in chunk.iter().enumerate() {
                self.key[index / 4] ^= u32::from(*byte) << (index % 4 * 8);
            }
            self.next_block();
        }
        self.source = source;
    }

    /// Mixes the jitter of the time-stamp counter and of memory into the key, whatever else there is.
    pub fn seed_by_timing(&mut self) {
        for _ in 0..64 {
            let now = tsc();
            self.key[0] ^= now as u32;
            self.key[1] ^= (now >> 32) as u32;
            self.next_block();
        }
    }

    /// Mixes 256 bits of `rdrand` into the key; false where it gives none. The processor must have the instruction.
    pub fn seed_by_processor(&mut self) -> bool {
        let mut seed = [0; 32];
        for word in seed.chunks_exact_mut(8) {
            let Some(value) = rdrand() else { return false };
            word.copy_from_slice(&value.to_le_bytes());
        }
        self.seed(&seed, Source::Processor);
        true
    }

    /// Fills `buffer`.
    pub fn fill(&mut self, buffer: &mut [u8]) {
        for chunk in buffer.chunks_mut(OUTPUT) {
            let output = self.next_block();
            chunk.copy_from_slice(&output[..chunk.len()]);
        }
    }

    fn next_block(&mut self) -> [u8; OUTPUT] {
        let block = chacha20(&self.key, self.counter, 0);
        self.counter = self.counter.wrapping_add(1);
        self.key.copy_from_slice(&block[..8]);
        let mut output = [0; OUTPUT];
        for (bytes, word) in output.chunks_exact_mut(4).zip(&block[8..]) {
            bytes.copy_from_slice(&word.to_le_bytes());
        }
        output
    }
}

impl Default for Random {
    fn default() -> Self {
        Self::new()
    }
}

/// Intel says to try ten times.
fn rdrand() -> Option<u64> {
    (0..10).find_map(|_| {
        let (value, valid): (u64, u8);
        // SAFETY: the caller of `seed_by_processor` knows that the instruction exists.
        unsafe { asm!("rdrand {}", "setc {}", out(reg) value, out(reg_byte) valid, options(nomem, nostack)) };
        (valid != 0).then_some(value)
    })
}

/// The block function of RFC 8439, with a 64-bit counter and a 64-bit nonce in its last four words.
fn chacha20(key: &[u32; 8], counter: u64, nonce: u64) -> [u32; 16] {
    const CONSTANTS: [u32; 4] = [0x6170_7865, 0x3320_646e, 0x7962_2d32, 0x6b20_6574];
    let mut start = [0; 16];
    start[..4].copy_from_slice(&CONSTANTS);
    start[4..12].copy_from_slice(key);
    start[12] = counter as u32;
    start[13] = (counter >> 32) as u32;
    start[14] = nonce as u32;
    start[15] = (nonce >> 32) as u32;
    let mut state = start;
    for _ in 0..10 {
        for [a, b, c, d] in [[0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15]] {
            quarter_round(&mut state, a, b, c, d);
        }
        for [a, b, c, d] in [[0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14]] {
            quarter_round(&mut state, a, b, c, d);
        }
    }
    for (word, start) in state.iter_mut().zip(start) {
        *word = word.wrapping_add(start);
    }
    state
}

fn quarter_round(state: &mut [u32; 16], a: usize, b: usize, c: usize, d: usize) {
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(16);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(12);
    state[a] = state[a].wrapping_add(state[b]);
    state[d] = (state[d] ^ state[a]).rotate_left(8);
    state[c] = state[c].wrapping_add(state[d]);
    state[b] = (state[b] ^ state[c]).rotate_left(7);
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 8439, 2.3.2, whose 32-bit counter and 96-bit nonce are our four last words.
    #[test]
    fn the_block_function_gives_the_standards_example() {
        let key = core::array::from_fn(|word| 0x0302_0100 + 0x0404_0404 * word as u32);
        let block = chacha20(&key, 1 | 0x0900_0000 << 32, 0x4a00_0000);
        let expected = [
            0xe4e7_f110,
            0x1559_3bd1,
            0x1fdd_0f50,
            0xc471_20a3,
            0xc7f4_d1c7,
            0x0368_c033,
            0x9aaa_2204,
            0x4e6c_d4c3,
            0x4664_82d2,
            0x09aa_9f07,
            0x05d7_c214,
            0xa202_8bd9,
            0xd19c_12b5,
            0xb94e_16de,
            0xe883_d0cb,
            0x4e3c_50a2,
        ];
        assert_eq!(block, expected);
    }

    #[test]
    fn the_same_seed_gives_the_same_bytes_and_another_seed_others() {
        let run = |seed: &[u8]| {
            let mut random = Random::new();
            random.seed(seed, Source::Device);
            let mut bytes = [0; 100];
            random.fill(&mut bytes);
            bytes
        };
        assert_eq!(run(b"a"), run(b"a"));
        assert_ne!(run(b"a"), run(b"b"));
        assert_ne!(run(b"a")[..32], run(b"a")[32..64]);
    }
}

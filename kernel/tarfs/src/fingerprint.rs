//! A 128-bit fingerprint of an archive's metadata, taken together with the header checksums in one look at each block.
//!
//! It tells archives apart that were made in good faith; it is not cryptographic. Content of files does not enter
//! (reading it would cost a pass over the whole archive): their sizes, times and places do.

use crate::header::BLOCK;

/// Odd, so that multiplication loses nothing: the fractional bits of the golden ratio, √2, √3 and √5.
const MULTIPLIERS: [u64; 4] =
    [0x9e37_79b9_7f4a_7c15, 0x6a09_e667_f3bc_c909, 0xbb67_ae85_84ca_a73b, 0x3c6e_f372_fe94_f82b];
const LOW_BYTES: u64 = 0x00ff_00ff_00ff_00ff;

/// The state of the fingerprint.
#[derive(Clone)]
pub(crate) struct Fingerprint {
    lanes: [u64; 4],
}

impl Fingerprint {
    pub(crate) const fn new() -> Self {
        Self { lanes: MULTIPLIERS }
    }

    /// Takes a block in and returns the sum of its bytes, each as unsigned.
    ///
    /// Both run in one loop over words: multiplications keep it scalar, which is what an emulated processor does best.
    pub(crate) fn absorb_block(&mut self, block: &[u8; BLOCK]) -> u32 {
        let (groups, _) = block.as_chunks::<32>();
        let mut lanes = self.lanes;
        // Four sums of 16 bits side by side: 64 words of at most 510 each stay below 65,536.
        let mut sums = 0u64;
        for group in groups {
            let (words, _) = group.as_chunks::<8>();
            for ((lane, multiplier), word) in lanes.iter_mut().zip(MULTIPLIERS).zip(words) {
                let word = u64::from_le_bytes(*word);
                sums += (word & LOW_BYTES) + ((word >> 8) & LOW_BYTES);
                *lane = (lane.rotate_left(23) ^ word).wrapping_mul(multiplier);
            }
        }
        self.lanes = lanes;
        (0..4).map(|lane| (sums >> (16 * lane)) as u32 & 0xffff).sum()
    }

    /// Takes any bytes in.
    pub(crate) fn absorb(&mut self, bytes: &[u8]) {
        let (blocks, rest) = bytes.as_chunks::<BLOCK>();
        for block in blocks {
            self.absorb_block(block);
        }
        let mut block = [0; BLOCK];
        block[..rest.len()].copy_from_slice(rest);
        self.absorb_block(&block);
        self.absorb_word(bytes.len() as u64);
    }

    /// Takes a number in.
    pub(crate) fn absorb_word(&mut self, word: u64) {
        self.lanes[0] = (self.lanes[0].rotate_left(23) ^ word).wrapping_mul(MULTIPLIERS[0]);
    }

    /// The fingerprint of all that was taken in.
    pub(crate) fn finish(&self) -> [u64; 2] {
        let [a, b, c, d] = self.lanes;
        [mix(a ^ b.rotate_left(17) ^ mix(c ^ mix(d))), mix(d ^ c.rotate_left(41) ^ mix(b ^ mix(a)))]
    }
}

/// Spreads every bit over the whole word (the finaliser of MurmurHash3).
const fn mix(mut word: u64) -> u64 {
    word = (word ^ (word >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    word = (word ^ (word >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    word ^ (word >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sum_is_that_of_the_bytes() {
        let mut block = [0xffu8; BLOCK];
        assert_eq!(Fingerprint::new().absorb_block(&block), 512 * 255);
        for (i, byte) in block.iter_mut().enumerate() {
            *byte = (i * 7) as u8;
        }
        let sum = block.iter().map(|&b| u32::from(b)).sum::<u32>();
        assert_eq!(Fingerprint::new().absorb_block(&block), sum);
    }

    #[test]
    fn every_single_bit_changes_both_halves() {
        let fingerprint = |block: &[u8; BLOCK]| {
            let mut print = Fingerprint::new();
            print.absorb_block(block);
            print.finish()
        };
        let mut block = [0u8; BLOCK];
        let plain = fingerprint(&block);
        for bit in 0..BLOCK * 8 {
            block[bit / 8] ^= 1 << (bit % 8);
            let changed = fingerprint(&block);
            assert!(changed[0] != plain[0] && changed[1] != plain[1], "bit {bit}");
            block[bit / 8] ^= 1 << (bit % 8);
        }
    }
}

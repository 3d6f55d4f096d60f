//! Hashes of names, by which htree directories are sorted (`fs/ext4` documentation, "Hash Tree Directories").

/// Which hash a directory uses (`dx_root_info.hash_version`, `s_def_hash_version`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum HashVersion {
    Legacy,
    HalfMd4,
    Tea,
}

impl HashVersion {
    /// The version that the on-disk number names: 0 to 2, and 3 to 5 for their unsigned forms.
    pub(crate) fn from_disk(number: u8) -> Option<Self> {
        Some(match number {
            0 | 3 => Self::Legacy,
            1 | 4 => Self::HalfMd4,
            2 | 5 => Self::Tea,
            _ => return None,
        })
    }

    pub(crate) fn to_disk(self) -> u8 {
        match self {
            Self::Legacy => 0,
            Self::HalfMd4 => 1,
            Self::Tea => 2,
        }
    }
}

/// Whether bytes of names count as signed, as `char` of the machine did that made the filesystem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CharSign {
    Signed,
    Unsigned,
}

impl CharSign {
    fn widen(self, byte: u8) -> u32 {
        match self {
            Self::Signed => i32::from(byte as i8) as u32,
            Self::Unsigned => u32::from(byte),
        }
    }
}

/// What a filesystem hashes names with.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Hasher {
    pub(crate) version: HashVersion,
    pub(crate) sign: CharSign,
    pub(crate) seed: [u32; 4],
}

/// The hash of a name: `major`, even, sorts an htree; `minor` tells equals apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct NameHash {
    pub(crate) major: u32,
    pub(crate) minor: u32,
}

impl Hasher {
    pub(crate) fn hash(&self, name: &[u8]) -> NameHash {
        let mut state = [0x6745_2301, 0xefcd_ab89, 0x98ba_dcfe, 0x1032_5476];
        if self.seed != [0; 4] {
            state = self.seed;
        }
        let (major, minor) = match self.version {
            HashVersion::Legacy => {
                // The legacy hash has no second part; half-MD4's serves, for only this system sees it.
                for chunk in name.chunks(32) {
                    half_md4(&mut state, &words::<8>(chunk, CharSign::Unsigned));
                }
                (self.legacy(name), state[2])
            }
            HashVersion::HalfMd4 => {
                for chunk in chunks(name, 32) {
                    half_md4(&mut state, &words::<8>(chunk, self.sign));
                }
                (state[1], state[2])
            }
            HashVersion::Tea => {
                for chunk in chunks(name, 16) {
                    tea(&mut state, &words::<4>(chunk, self.sign));
                }
                (state[0], state[1])
            }
        };
        // The greatest hash marks the end of a directory.
        let major = major & !1;
        NameHash { major: if major == 0xffff_fffe { 0xffff_fffc } else { major }, minor }
    }

    fn legacy(&self, name: &[u8]) -> u32 {
        let (mut now, mut before) = (0x12a3_fe2d_u32, 0x37ab_e8f9_u32);
        for &byte in name {
            let mut hash = before.wrapping_add(now ^ self.sign.widen(byte).wrapping_mul(7_152_373));
            if hash & 0x8000_0000 != 0 {
                hash = hash.wrapping_sub(0x7fff_ffff);
            }
            before = now;
            now = hash;
        }
        now << 1
    }
}

fn chunks(name: &[u8], size: usize) -> core::slice::Chunks<'_, u8> {
    name.chunks(size)
}

/// Packs a piece of a name into words, padded with its length.
fn words<const N: usize>(piece: &[u8], sign: CharSign) -> [u32; N] {
    let len = piece.len() as u32;
    let pad = (len | len << 8) | (len | len << 8) << 16;
    let mut out = [pad; N];
    for (word, bytes) in out.iter_mut().zip(piece.chunks(4)) {
        *word = bytes.iter().fold(pad, |value, &byte| sign.widen(byte).wrapping_add(value << 8));
    }
    out
}

fn half_md4(state: &mut [u32; 4], input: &[u32; 8]) {
    type Mix = fn(u32, u32, u32) -> u32;
    const ROUNDS: [(Mix, u32, [usize; 8], [u32; 4]); 3] = [
        (|x, y, z| z ^ (x & (y ^ z)), 0, [0, 1, 2, 3, 4, 5, 6, 7], [3, 7, 11, 19]),
        (|x, y, z| (x & y).wrapping_add((x ^ y) & z), 0x5a82_7999, [1, 3, 5, 7, 0, 2, 4, 6], [3, 5, 9, 13]),
        (|x, y, z| x ^ y ^ z, 0x6ed9_eba1, [3, 7, 2, 6, 1, 5, 0, 4], [3, 9, 11, 15]),
    ];
    let [mut a, mut b, mut c, mut d] = *state;
    for (mix, constant, order, shifts) in ROUNDS {
        for (step, &word) in order.iter().enumerate() {
            let sum = a.wrapping_add(mix(b, c, d)).wrapping_add(input[word]).wrapping_add(constant);
            (a, b, c, d) = (d, sum.rotate_left(shifts[step % 4]), b, c);
        }
    }
    for (word, add) in state.iter_mut().zip([a, b, c, d]) {
        *word = word.wrapping_add(add);
    }
}

fn tea(state: &mut [u32; 4], key: &[u32; 4]) {
    let [mut x, mut y, ..] = *state;
    let mut sum = 0_u32;
    for _ in 0..16 {
        sum = sum.wrapping_add(0x9e37_79b9);
        x = x.wrapping_add((y << 4).wrapping_add(key[0]) ^ y.wrapping_add(sum) ^ (y >> 5).wrapping_add(key[1]));
        y = y.wrapping_add((x << 4).wrapping_add(key[2]) ^ x.wrapping_add(sum) ^ (x >> 5).wrapping_add(key[3]));
    }
    state[0] = state[0].wrapping_add(x);
    state[1] = state[1].wrapping_add(y);
}

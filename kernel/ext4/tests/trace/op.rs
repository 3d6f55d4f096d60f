//! Operations, and the two that carry them out.

use std::sync::LazyLock;

use vfs::{AllocateMode, RenameMode, Timestamp, XattrMode};

/// A path below the root, `/` between components.
pub type Path = Vec<u8>;

/// An operation as text: paths readable, long names cut.
pub fn show(op: &Op) -> String {
    let text = format!("{op:?}");
    let mut shown = String::new();
    let mut rest = &text[..];
    while let Some((before, after)) = rest.split_once('[') {
        let (inner, after) = after.split_once(']').unwrap_or((after, ""));
        let bytes: Vec<u8> = inner.split(", ").filter_map(|byte| byte.parse().ok()).collect();
        let words = bytes.split(|&byte| byte == b'/').map(|word| word[..word.len().min(12)].escape_ascii().to_string());
        shown = shown + before + "\"" + &words.collect::<Vec<_>>().join("/") + "\"";
        rest = after;
    }
    shown + rest
}

/// What `mknod` makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Device {
    Char(u32, u32),
    Block(u32, u32),
    Fifo,
    Socket,
}

/// Bytes of a write: `len` of those that `seed` names.
#[derive(Debug, Clone, Copy)]
pub struct Data {
    pub seed: u64,
    pub len: usize,
}

impl Data {
    /// The bytes; never zero, so that holes show. A slice of what is made once, so that a run that is timed does not time this.
    pub fn bytes(self) -> &'static [u8] {
        const KINDS: usize = 1 << 20;
        const LONGEST: usize = 1 << 17;
        static BYTES: LazyLock<Vec<u8>> = LazyLock::new(|| {
            let mut bytes = vec![0; KINDS + LONGEST];
            contract::random::Random::new(1).fill(&mut bytes);
            bytes.iter_mut().for_each(|byte| *byte |= 1);
            bytes
        });
        &BYTES[self.seed as usize % KINDS..][..self.len]
    }
}

/// One operation.
#[derive(Debug, Clone)]
pub enum Op {
    Create(Path, u16),
    Mkdir(Path, u16),
    Symlink(Path, Vec<u8>),
    Mknod(Path, Device, u16),
    Write(Path, u64, Data),
    Append(Path, Data),
    Truncate(Path, u64),
    Allocate(Path, AllocateMode, u64, u64),
    Read(Path, u64, usize),
    ReadLink(Path),
    List(Path),
    Link(Path, Path),
    Rename(Path, Path, RenameMode),
    RenameWhiteout(Path, Path),
    Unlink(Path),
    Rmdir(Path),
    Chmod(Path, u16),
    /// Owner, group, and the mode afterwards, which a symbolic link has not.
    Chown(Path, u32, u32, Option<u16>),
    /// atime, mtime.
    Utimens(Path, Option<Timestamp>, Option<Timestamp>),
    SetXattr(Path, &'static str, Data, XattrMode),
    RemoveXattr(Path, &'static str),
    /// A file without a name in the directory of the path, written, then given the path.
    Unnamed(Path, Data),
    /// Keeps a file open from now on.
    Hold(Path),
    HeldWrite(usize, u64, Data),
    HeldRead(usize, u64, usize),
    HeldRelease(usize),
    Sync,
}

/// How an operation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    Done,
    Value(u64),
    Bytes(Vec<u8>),
    Names(Vec<Vec<u8>>),
    Errno(i32),
}

/// A filesystem that operations are applied to.
pub trait World {
    fn apply(&mut self, op: &Op) -> Answer;
}

/// The directory and the last component.
pub fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&byte| byte == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&path[..0], path),
    }
}

/// Short bytes are compared as they are, long ones by a sum.
pub fn bytes_answer(bytes: &[u8]) -> Answer {
    if bytes.len() <= 64 {
        return Answer::Bytes(bytes.to_vec());
    }
    let mut sum = bytes.len() as u64;
    let mut add = |word: u64| sum = (sum ^ word).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29);
    let (words, rest) = bytes.as_chunks();
    words.iter().for_each(|&word| add(u64::from_le_bytes(word)));
    rest.iter().for_each(|&byte| add(u64::from(byte)));
    Answer::Value(sum)
}

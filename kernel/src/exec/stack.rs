//! A program's first stack: arguments, environment, auxiliary vector (System V ABI for x86_64, "Initial Stack").

use alloc::vec::Vec;

use vfs::{Credentials, Errno, Error, Result};
use zerocopy::IntoBytes;

use crate::syscall::abi::{Auxv, auxv};
use crate::task::UserSpace;
use crate::task::space::STACK_BYTES;

/// The most that arguments and environment may take together, pointers included, in bytes.
const TOTAL_MAX: usize = (STACK_BYTES / 4) as usize;

/// A list of texts, each ended by a zero, kept as one run of bytes.
#[derive(Debug, Clone, Default)]
pub(crate) struct Strings {
    bytes: Vec<u8>,
    count: usize,
}

impl Strings {
    /// The longest single text, in bytes (`MAX_ARG_STRLEN`).
    pub(crate) const LONGEST: usize = 128 << 10;

    /// Adds a text, which has no zero in it.
    ///
    /// # Errors
    /// `E2BIG`, `ENOMEM`.
    pub(crate) fn push(&mut self, text: &[u8]) -> Result<()> {
        let more = text.len() + 1;
        if self.bytes.len() + more + (self.count + 1) * 8 > TOTAL_MAX {
            return Err(Error::new(Errno::E2BIG, "arguments and environment"));
        }
        self.bytes.try_reserve(more).map_err(|_| Errno::ENOMEM)?;
        self.bytes.extend_from_slice(text);
        self.bytes.push(0);
        self.count += 1;
        Ok(())
    }

    /// How many texts.
    pub(crate) fn len(&self) -> usize {
        self.count
    }

    /// All texts, a zero after each.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The texts.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.split_inclusive(|&byte| byte == 0).map(|text| &text[..text.len() - 1])
    }

    /// Puts texts in the place of the first one; empty ones are left out.
    ///
    /// # Errors
    /// As [`push`](Self::push).
    pub(super) fn replace_first(&mut self, texts: &[&[u8]]) -> Result<()> {
        let mut new = Self::default();
        for text in texts.iter().copied().filter(|text| !text.is_empty()).chain(self.iter().skip(1)) {
            new.push(text)?;
        }
        *self = new;
        Ok(())
    }
}

/// What a program is told about itself.
pub(super) struct Facts<'a> {
    /// Address of its program headers.
    pub(super) headers: u64,
    /// Size of one.
    pub(super) header_bytes: u64,
    /// Their number.
    pub(super) header_count: u64,
    /// Where its interpreter begins, 0 for none.
    pub(super) interpreter_base: u64,
    /// Its own first instruction.
    pub(super) entry: u64,
    /// Who it runs as.
    pub(super) credentials: &'a Credentials,
    /// Whether it has rights that its caller does not have.
    pub(super) secure: bool,
    /// The path that it was started by.
    pub(super) name: &'a [u8],
}

/// Fills the stack that ends at `top` and returns the first stack pointer.
pub(super) fn fill(
    space: &mut UserSpace,
    top: u64,
    facts: &Facts<'_>,
    arguments: &Strings,
    environment: &Strings,
) -> Result<u64> {
    // The texts, at the very top: sixteen random bytes, platform, arguments, environment, path, eight zeros.
    let mut texts = Vec::new();
    let size = 16 + 7 + arguments.bytes.len() + environment.bytes.len() + facts.name.len() + 1 + 8;
    if size > TOTAL_MAX + 8192 {
        return Err(Error::new(Errno::E2BIG, "arguments and environment"));
    }
    texts.try_reserve(size.next_multiple_of(16)).map_err(|_| Errno::ENOMEM)?;
    let mut random = [0; 16];
    crate::random::fill(&mut random);
    texts.extend_from_slice(&random);
    texts.extend_from_slice(b"x86_64\0");
    let arguments_at = texts.len();
    texts.extend_from_slice(&arguments.bytes);
    let environment_at = texts.len();
    texts.extend_from_slice(&environment.bytes);
    let name_at = texts.len();
    texts.extend_from_slice(facts.name);
    texts.push(0);
    texts.resize((texts.len() + 8).next_multiple_of(16), 0);
    let base = top - texts.len() as u64;

    let uid = facts.credentials.uid();
    let gid = facts.credentials.gid();
    let vector = [
        (auxv::HWCAP, u64::from(core::arch::x86_64::__cpuid(1).edx)),
        (auxv::PAGESZ, boot::layout::PAGE_SIZE),
        (auxv::CLKTCK, 100),
        (auxv::PHDR, facts.headers),
        (auxv::PHENT, facts.header_bytes),
        (auxv::PHNUM, facts.header_count),
        (auxv::BASE, facts.interpreter_base),
        (auxv::FLAGS, 0),
        (auxv::ENTRY, facts.entry),
        (auxv::UID, uid.real.into()),
        (auxv::EUID, uid.effective.into()),
        (auxv::GID, gid.real.into()),
        (auxv::EGID, gid.effective.into()),
        (auxv::SECURE, facts.secure.into()),
        (auxv::RANDOM, base),
        (auxv::EXECFN, base + name_at as u64),
        (auxv::PLATFORM, base + 16),
        (auxv::NULL, 0),
    ]
    .map(|(kind, value)| Auxv { kind, value });

    // The words below: count, argument pointers, null, environment pointers, null, auxiliary vector.
    let word_count = 1 + arguments.count + 1 + environment.count + 1 + vector.len() * 2;
    let mut words: Vec<u64> = Vec::new();
    words.try_reserve(word_count + 1).map_err(|_| Errno::ENOMEM)?;
    words.push(arguments.count as u64);
    push_pointers(&mut words, arguments, base + arguments_at as u64);
    push_pointers(&mut words, environment, base + environment_at as u64);
    for entry in vector {
        words.extend([entry.kind, entry.value]);
    }
    if !words.len().is_multiple_of(2) {
        // The stack pointer is a multiple of 16; what follows the vector's end is nobody's.
        words.push(0);
    }
    let stack_pointer = base - (words.len() * 8) as u64;
    space.write_bytes(stack_pointer, words.as_bytes())?;
    space.write_bytes(base, &texts)?;
    Ok(stack_pointer)
}

/// The address of each text, and a null.
fn push_pointers(words: &mut Vec<u64>, strings: &Strings, base: u64) {
    let mut at = base;
    for text in strings.iter() {
        words.push(at);
        at += text.len() as u64 + 1;
    }
    words.push(0);
}

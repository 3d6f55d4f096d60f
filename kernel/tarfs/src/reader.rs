//! An archive as a sequence of members: headers with their extensions resolved, places instead of copies.
//!
//! [`Reader`] knows blocks and formats and nothing of trees; what a member does to the tree is `place`'s part. Precedence
//! is GNU tar's: pax keywords of the member, then global ones, then GNU long names, then the header itself.

use alloc::vec::Vec;

use base::time::Timestamp;

use crate::error::{Reason, Shown, TarError, kept};
use crate::fingerprint::Fingerprint;
use crate::header::{BLOCK, Header, foreign_format, is_zero};
use crate::pax::{Keyword, Keywords};
use crate::span::{PLACE_LIMIT, Span};
use crate::sparse::{self, Extent, MapBuilder};
use crate::xattr::Xattr;

/// Members of unknown type that get a line in the log each.
const UNKNOWN_LOGGED: u32 = 4;

/// What a member makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    /// A regular file with holes: the extents are the reader's.
    SparseFile,
    /// One more name of an earlier member, named by `link`.
    HardLink,
    /// A symbolic link to `link`.
    Symlink,
    CharDevice,
    BlockDevice,
    Dir,
    Fifo,
}

/// One member of an archive.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Member {
    /// Where its first header begins, for messages.
    pub(crate) offset: usize,
    pub(crate) kind: Kind,
    /// The parts of its name, to be joined by a slash.
    pub(crate) path: [Span; 2],
    pub(crate) link: Span,
    pub(crate) mode: u16,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Timestamp,
    /// Access and change time, where the archive has either.
    pub(crate) other_times: Option<[Timestamp; 2]>,
    /// Major and minor number.
    pub(crate) device: (u32, u32),
    /// Size of a regular file, holes included.
    pub(crate) size: u64,
    /// The stored bytes.
    pub(crate) data: Span,
}

/// Reads members from the start of some bytes to the end of the archive in them.
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    position: usize,
    /// The first extension header of the member to come.
    pending: Option<usize>,
    long_name: Option<Span>,
    long_link: Option<Span>,
    own: Keywords,
    global: Keywords,
    /// How often the global keywords changed.
    global_version: u32,
    extents: Vec<Extent>,
    decoded: Vec<u8>,
    fingerprint: Fingerprint,
    unknown_types: u32,
}

impl<'a> Reader<'a> {
    /// A reader of the archive that begins at `start`.
    pub(crate) fn new(bytes: &'a [u8], start: usize) -> Result<Self, TarError> {
        let head = bytes.get(start..).unwrap_or_default();
        if head.is_empty() {
            return Err(TarError::new(start, Reason::Empty));
        }
        if let Some(format) = foreign_format(head) {
            return Err(TarError::new(start, Reason::Foreign(format)));
        }
        if bytes.len() >= PLACE_LIMIT {
            return Err(TarError::new(start, Reason::TooMany("bytes")));
        }
        Ok(Self {
            bytes,
            position: start,
            pending: None,
            long_name: None,
            long_link: None,
            own: Keywords::default(),
            global: Keywords::default(),
            global_version: 0,
            extents: Vec::new(),
            decoded: Vec::new(),
            fingerprint: Fingerprint::new(),
            unknown_types: 0,
        })
    }

    /// The next member; `None` at the end of the archive, which [`position`](Self::position) then is.
    pub(crate) fn next(&mut self) -> Result<Option<Member>, TarError> {
        self.own.clear();
        (self.long_name, self.long_link) = (None, None);
        self.pending = None;
        loop {
            let offset = self.position;
            let Some(block) = self.header_block()? else {
                return match self.pending {
                    Some(offset) => Err(TarError::new(offset, Reason::NoMember)),
                    None => Ok(None),
                };
            };
            let header = Header::check(block, offset, &mut self.fingerprint)?;
            self.position = offset + BLOCK;
            let first = *self.pending.get_or_insert(offset);
            match header.type_flag() {
                b'x' | b'X' => {
                    let data = self.extension(&header, "a pax header")?;
                    self.own.read(self.bytes, data, &mut self.decoded)?;
                }
                b'g' => {
                    let data = self.extension(&header, "a pax header")?;
                    self.global.read(self.bytes, data, &mut self.decoded)?;
                    // Holes of every member alike make no sense.
                    self.global.sparse = Default::default();
                    self.global_version = self.global_version.wrapping_add(1);
                    // It stands for itself: the archive may end after it.
                    self.pending = (first != offset).then_some(first);
                }
                b'L' => self.long_name = Some(self.long_text(&header)?),
                b'K' => self.long_link = Some(self.long_text(&header)?),
                // A volume's label and the long names of tar before 1.12 make no files.
                b'V' | b'N' => {
                    self.take_data(&header, header.size()?)?;
                    self.pending = (first != offset).then_some(first);
                }
                b'M' => return Err(TarError::new(offset, Reason::Unsupported("a file that began on another volume"))),
                _ => return self.member(&header, offset, first).map(Some),
            }
        }
    }

    /// Where the next header is, or where the archive ended.
    pub(crate) const fn position(&self) -> usize {
        self.position
    }

    /// The extents of the last member, if it is a sparse file.
    pub(crate) fn extents(&self) -> &[Extent] {
        &self.extents
    }

    /// The extended attributes of the last member itself.
    pub(crate) fn own_xattrs(&self) -> &[Xattr] {
        &self.own.xattrs
    }

    /// Those that a global header gives to every member, and a number that changes with them.
    pub(crate) fn global_xattrs(&self) -> (&[Xattr], u32) {
        (&self.global.xattrs, self.global_version)
    }

    /// The decoded text so far.
    pub(crate) fn decoded(&self) -> &[u8] {
        &self.decoded
    }

    /// The decoded text of the whole archive and its fingerprint.
    pub(crate) fn finish(self) -> (Vec<u8>, Fingerprint) {
        (self.decoded, self.fingerprint)
    }

    /// The block at the position, unless the archive ends here: at the end marker, or, as GNU tar has it, where the bytes
    /// end.
    fn header_block(&mut self) -> Result<Option<&'a [u8; BLOCK]>, TarError> {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        let Some((block, after)) = rest.split_first_chunk::<BLOCK>() else {
            if rest.iter().any(|&byte| byte != 0) {
                let missing = (BLOCK - rest.len()) as u64;
                let reason = Reason::Truncated { what: "a header", member: None, missing };
                return Err(TarError::new(self.position, reason));
            }
            log::warn!("tar: offset {}: no end marker: the archive may have been cut", self.position);
            self.position = self.bytes.len();
            return Ok(None);
        };
        if block[0] != 0 || !is_zero(block) {
            return Ok(Some(block));
        }
        match after.split_first_chunk::<BLOCK>() {
            Some((second, _)) if is_zero(second) => self.position += 2 * BLOCK,
            None if is_zero(after) => {
                log::warn!("tar: offset {}: half an end marker: the archive may have been cut", self.position);
                self.position = self.bytes.len();
            }
            _ => return Err(TarError::new(self.position, Reason::LoneZeroBlock)),
        }
        Ok(None)
    }

    /// The data of an extension header, which is metadata and enters the fingerprint.
    fn extension(&mut self, header: &Header<'_>, what: &'static str) -> Result<Span, TarError> {
        let offset = self.position;
        let data = self
            .take(header.size()?)
            .map_err(|missing| TarError::new(offset, Reason::Truncated { what, member: None, missing }))?;
        self.fingerprint.absorb(data.of(self.bytes));
        Ok(data)
    }

    /// The text of a GNU long name: up to its first NUL.
    fn long_text(&mut self, header: &Header<'_>) -> Result<Span, TarError> {
        let data = self.extension(header, "a long name")?;
        let len = data.of(self.bytes).iter().position(|&byte| byte == 0);
        Ok(data.part(0..len.unwrap_or(data.len)))
    }

    /// The data of a member, its padding left behind.
    fn take_data(&mut self, header: &Header<'_>, size: u64) -> Result<Span, TarError> {
        let offset = self.position;
        self.take(size).map_err(|missing| {
            let [prefix, name] = header.path();
            let name = self.long_name.unwrap_or(if name.is_empty() { prefix } else { name });
            let member = Some(kept(self.own.path.or(self.global.path).unwrap_or(name).of(self.bytes)));
            TarError::new(offset, Reason::Truncated { what: "the data", member, missing })
        })
    }

    /// Moves over `size` bytes and their padding, or says how many are missing. Padding may be: nothing is lost with it.
    fn take(&mut self, size: u64) -> Result<Span, u64> {
        let left = self.bytes.len() - self.position;
        let len = usize::try_from(size).ok().filter(|&len| len <= left);
        let len = len.ok_or_else(|| size.saturating_sub(left as u64))?;
        let data = Span::new(self.position, len);
        self.position += len.next_multiple_of(BLOCK).min(left);
        Ok(data)
    }

    fn member(&mut self, header: &Header<'_>, offset: usize, first: usize) -> Result<Member, TarError> {
        let path = self.path(header);
        let slash = path[1].of(self.bytes).ends_with(b"/");
        let size = match self.own.size.or(self.global.size) {
            Some(size) => size,
            None => header.size()?,
        };
        if i64::try_from(size).is_err() {
            return Err(TarError::new(offset, Reason::Field("size")));
        }
        let mut member = self.attributes(header, path, first)?;
        member.size = size;
        match header.type_flag() {
            b'0' | b'\0' | b'7' if slash => {
                // Before there was a type for directories, a slash at the end meant one.
                member.kind = Kind::Dir;
                self.take_data(header, size)?;
            }
            b'0' | b'\0' | b'7' => self.file(&mut member, header)?,
            b'S' => self.old_sparse_file(&mut member, header)?,
            b'1' => {
                member.kind = Kind::HardLink;
                if size > 0 && !self.at_header() {
                    // POSIX lets a link carry the file's data once more; older archives give a size and no data.
                    self.take_data(header, size)?;
                }
            }
            b'2' => member.kind = Kind::Symlink,
            b'3' | b'4' => {
                member.kind = if header.type_flag() == b'3' { Kind::CharDevice } else { Kind::BlockDevice };
                let major = self.own.dev_major.or(self.global.dev_major);
                let minor = self.own.dev_minor.or(self.global.dev_minor);
                member.device = match (major, minor) {
                    (Some(major), Some(minor)) => (major, minor),
                    _ => {
                        let (header_major, header_minor) = header.device()?;
                        (major.unwrap_or(header_major), minor.unwrap_or(header_minor))
                    }
                };
            }
            b'5' => member.kind = Kind::Dir,
            b'6' => member.kind = Kind::Fifo,
            b'D' => {
                // An incremental archive's directory: its data lists the entries that were there.
                member.kind = Kind::Dir;
                self.take_data(header, size)?;
            }
            other => {
                self.unknown_types = self.unknown_types.saturating_add(1);
                if self.unknown_types <= UNKNOWN_LOGGED {
                    let (name, kind) = (Shown(path[1].of(self.bytes)), char::from(other));
                    log::warn!("tar: offset {offset}: {name} is of unknown type {kind:?}, taken as a file");
                }
                self.file(&mut member, header)?;
            }
        }
        Ok(member)
    }

    /// A member without its kind and data.
    fn attributes(&self, header: &Header<'_>, path: [Span; 2], first: usize) -> Result<Member, TarError> {
        let (own, global) = (&self.own, &self.global);
        let mtime = match own.mtime.or(global.mtime) {
            Some(mtime) => mtime,
            None => Timestamp::from_secs(header.mtime()?),
        };
        let (atime, ctime) = (own.atime.or(global.atime), own.ctime.or(global.ctime));
        let other_times =
            (atime.is_some() || ctime.is_some()).then(|| [atime.unwrap_or(mtime), ctime.unwrap_or(mtime)]);
        Ok(Member {
            offset: first,
            kind: Kind::File,
            path,
            link: own.link.or(global.link).or(self.long_link).unwrap_or(header.link()),
            mode: header.mode()?,
            uid: own.uid.or(global.uid).map_or_else(|| header.uid(), Ok)?,
            gid: own.gid.or(global.gid).map_or_else(|| header.gid(), Ok)?,
            mtime,
            other_times,
            device: (0, 0),
            size: 0,
            data: Span::default(),
        })
    }

    fn path(&self, header: &Header<'_>) -> [Span; 2] {
        let own = self.own.sparse.name.or(Keyword::Absent).or_else(|| self.own.path.or(self.global.path));
        let name = own.or(self.long_name);
        name.map_or_else(|| header.path(), |name| [Span::default(), name])
    }

    /// A regular file, which pax keywords may make sparse.
    fn file(&mut self, member: &mut Member, header: &Header<'_>) -> Result<(), TarError> {
        member.data = self.take_data(header, member.size)?;
        let keywords = &self.own.sparse;
        let text_map = match (keywords.major, keywords.minor) {
            (Some(1), Some(0) | None) => true,
            (None | Some(0), _) => false,
            _ => return Err(TarError::new(member.offset, Reason::Unsupported("this version of GNU.sparse"))),
        };
        if !text_map && keywords.map.is_empty() && keywords.count.is_none() {
            return Ok(());
        }
        member.kind = Kind::SparseFile;
        member.size = keywords
            .size
            .ok_or_else(|| TarError::new(member.offset, Reason::Sparse("the size of the file is missing")))?;
        if i64::try_from(member.size).is_err() {
            return Err(TarError::new(member.offset, Reason::Sparse("the file is too large")));
        }
        let mut map = MapBuilder::new(&mut self.extents, member.offset, member.size);
        if text_map {
            return sparse::read_text(&mut map, self.bytes, member.data);
        }
        map.stored(member.data);
        sparse::read_pairs(&mut map, &keywords.map, keywords.count)
    }

    fn old_sparse_file(&mut self, member: &mut Member, header: &Header<'_>) -> Result<(), TarError> {
        let blocks = sparse::old_gnu_blocks(self.bytes, header, self.position - BLOCK)?;
        self.position += blocks.len;
        self.fingerprint.absorb(blocks.of(self.bytes));
        member.kind = Kind::SparseFile;
        member.data = self.take_data(header, member.size)?;
        member.size = header.sparse_size()?;
        let mut map = MapBuilder::new(&mut self.extents, member.offset, member.size);
        map.stored(member.data);
        sparse::read_old_gnu(&mut map, self.bytes, header, blocks)
    }

    /// Whether a header, or the end of the archive, is at the position.
    fn at_header(&self) -> bool {
        let rest = self.bytes.get(self.position..).unwrap_or_default();
        rest.first_chunk::<BLOCK>().is_none_or(|block| is_zero(block) || Header::is_valid(block))
    }
}

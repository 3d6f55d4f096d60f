//! What a filesystem is: nodes by kind, their operations, and the types that cross the boundary.
//!
//! Every operation is atomic inside its filesystem: one lock, one transaction. Callers hold no lock that a
//! filesystem could need, so the overlay calls its layers directly.

mod attr;
mod dir;
mod errors;
mod file;
mod flags;
mod fs;
mod name;
mod node;
mod upper;

pub use attr::{Access, Attr, DeviceNumber, FileType, NewKind, NewNode, SetAttr, SetTime, mode};
pub use dir::{Cookie, DirEntry, DirOps, DirSink, Expect, RenameMode, RenameOp};
pub use errors::{ErrorSequence, Told, sync_and_tell};
pub use file::{AllocateMode, FileOps, OpenIntent};
pub use flags::{InodeFlags, XattrSet};
pub use fs::{FileHandle, FileSystem, FsContext, StatFs, Trim};
pub use name::{NAME_MAX, Name, NameBuf};
pub use node::{Lead, Node, NodeId, NodeOps, SpecialOps, SymlinkOps, SyncKind, XattrMode};
pub use upper::{
    Over, Parent, Publish, SourceLeft, Subject, UpperDir, UpperRename, UpperRenameMode, Victim, XattrChange,
};

//! Directories as the contract has them: each operation is handed to its own module.

use alloc::vec::Vec;

use vfs::{
    Attr, Cookie, DirOps, DirSink, Expect, InodeFlags, Name, NewNode, Node, NodeId, NodeOps, RenameOp, Result, SetAttr,
    SyncKind, XattrMode, XattrSet,
};

use crate::index::InUpper;
use crate::node::OverlayDir;
use crate::options::SyncMode;
use crate::xattr::{self, LAYER_XATTR};

impl OverlayDir {
    fn layer_name(&self) -> Vec<u8> {
        match (self.upper(), self.lowers.first()) {
            (Some(_), Some(_)) => b"merged".to_vec(),
            (None, Some(lower)) => alloc::format!("lower{}", lower.layer.0).into_bytes(),
            (Some(_) | None, None) => b"upper".to_vec(),
        }
    }
}

impl NodeOps for OverlayDir {
    fn id(&self) -> NodeId {
        self.core.id()
    }

    fn identity(&self) -> u64 {
        self.core.serial()
    }

    fn attr(&self) -> Result<Attr> {
        let mut attr = self.top()?.attr()?;
        let id = self.id();
        (attr.dev, attr.ino) = (id.dev, id.ino);
        if self.is_gone() {
            attr.nlink = 0;
        } else if self.is_merged() {
            // Subdirectories of all layers are not counted; 1 tells programs not to rely on it.
            attr.nlink = 1;
        }
        attr.flags = self.core.flags(attr.flags, self.upper().map(|upper| &**upper))?;
        Ok(attr)
    }

    fn set_attr(&self, change: &SetAttr) -> Result<()> {
        self.copy_up()?.set_attr(change)
    }

    fn set_flags(&self, flags: InodeFlags, with: Option<XattrSet<'_>>) -> Result<()> {
        self.change_flags(flags, with)
    }

    fn xattr(&self, name: &[u8]) -> Result<Option<Vec<u8>>> {
        if name == LAYER_XATTR {
            return Ok(Some(self.layer_name()));
        }
        xattr::get(self.core.fs.names, &**self.top()?, name)
    }

    fn set_xattr(&self, name: &[u8], value: &[u8], mode: XattrMode) -> Result<()> {
        self.core.fs.writable()?;
        let name = xattr::check_set(self.core.fs.names, &**self.top()?, name, mode)?;
        self.copy_up()?.set_xattr(&name, value, mode)
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        self.core.fs.writable()?;
        let in_upper = if self.upper().is_some() { InUpper::Yes } else { InUpper::No };
        let name = xattr::check_remove(self.core.fs.names, &**self.top()?, name, in_upper)?;
        self.copy_up()?.remove_xattr(&name)
    }

    fn list_xattrs(&self, each: &mut dyn FnMut(&[u8])) -> Result<()> {
        xattr::list(self.core.fs.names, &**self.top()?, each)
    }

    fn sync(&self, kind: SyncKind) -> Result<()> {
        match (self.upper(), self.core.fs.options.sync) {
            (Some(upper), SyncMode::Auto | SyncMode::Strict) => upper.sync(kind),
            (_, SyncMode::Volatile) => self.core.fs.check_volatile(),
            (None, _) => Ok(()),
        }
    }

    fn note_access(&self) {
        if let Some(upper) = self.upper() {
            upper.note_access();
        }
    }
}

impl DirOps for OverlayDir {
    fn lookup(&self, name: Name<'_>) -> Result<Option<Node>> {
        let _entries = self.entries.read();
        match self.resolve(name)? {
            Some(found) => Ok(Some(self.node(name, found)?.into_node())),
            None => Ok(None),
        }
    }

    fn read_dir(&self, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        self.list(from, sink)
    }

    fn create(&self, name: Name<'_>, new: &NewNode<'_>) -> Result<Node> {
        self.create_entry(name, new)
    }

    fn create_unnamed(&self, new: &NewNode<'_>) -> Result<Node> {
        self.create_without_name(new)
    }

    fn link(&self, name: Name<'_>, node: &Node) -> Result<()> {
        self.link_entry(name, node)
    }

    fn remove(&self, name: Name<'_>, expect: Expect) -> Result<()> {
        self.remove_entry(name, expect)
    }

    fn rename(&self, op: &RenameOp<'_>) -> Result<()> {
        self.rename_entry(op)
    }
}

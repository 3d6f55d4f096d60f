//! The wrapper of directories, upper ones included.

use alloc::sync::Arc;
use alloc::vec::Vec;
use core::any::Any;

use vfs::{
    Attr, Cookie, DirOps, DirSink, Errno, Error, Expect, FileHandle, InodeFlags, Name, NewNode, Node, NodeId, NodeOps,
    Publish, RenameOp, Result, SetAttr, SyncKind, UpperDir, UpperRename, Victim, XattrMode, XattrSet,
};

use super::node::wrapper;
use super::{Calls, Control, unwrap, wrap};

wrapper! {
    /// A directory of the wrapped filesystem.
    FaultDir, DirOps
}

impl FaultDir {
    fn upper(&self) -> Result<&dyn UpperDir> {
        self.inner.as_upper().ok_or(Error::new(Errno::EOPNOTSUPP, "the wrapped filesystem is no upper"))
    }

    /// The inner directory of a rename's target, or the directory itself if it is a foreign one.
    fn unwrap_dir(dir: &Arc<dyn DirOps>) -> Arc<dyn DirOps> {
        (&**dir as &dyn Any).downcast_ref::<Self>().map_or_else(|| dir.clone(), |wrapper| wrapper.inner.clone())
    }
}

impl DirOps for FaultDir {
    fn lookup(&self, name: Name<'_>) -> Result<Option<Node>> {
        self.control.enter(Calls::LOOKUP)?;
        Ok(self.inner.lookup(name)?.map(|node| wrap(node, &self.control)))
    }

    fn read_dir(&self, from: Cookie, sink: &mut dyn DirSink) -> Result<()> {
        self.control.enter(Calls::READ_DIR)?;
        self.inner.read_dir(from, sink)
    }

    fn create(&self, name: Name<'_>, new: &NewNode<'_>) -> Result<Node> {
        self.control.enter(Calls::CREATE)?;
        Ok(wrap(self.inner.create(name, new)?, &self.control))
    }

    fn create_unnamed(&self, new: &NewNode<'_>) -> Result<Node> {
        self.control.enter(Calls::STAGE)?;
        Ok(wrap(self.inner.create_unnamed(new)?, &self.control))
    }

    fn link(&self, name: Name<'_>, node: &Node) -> Result<()> {
        self.control.enter(Calls::LINK)?;
        self.inner.link(name, &unwrap(node))
    }

    fn remove(&self, name: Name<'_>, expect: Expect) -> Result<()> {
        self.control.enter(Calls::REMOVE)?;
        self.inner.remove(name, expect)
    }

    fn rename(&self, op: &RenameOp<'_>) -> Result<()> {
        self.control.enter(Calls::RENAME)?;
        self.inner.rename(&RenameOp { to: &Self::unwrap_dir(op.to), ..*op })
    }

    fn as_upper(&self) -> Option<&dyn UpperDir> {
        self.inner.as_upper().map(|_| self as &dyn UpperDir)
    }
}

impl UpperDir for FaultDir {
    fn stage(&self, new: &NewNode<'_>) -> Result<Node> {
        self.control.enter(Calls::STAGE)?;
        Ok(wrap(self.upper()?.stage(new)?, &self.control))
    }

    fn publish(&self, name: Name<'_>, node: &Node, how: &Publish<'_>) -> Result<()> {
        self.control.enter(Calls::PUBLISH)?;
        self.upper()?.publish(name, &unwrap(node), how)
    }

    fn create_over(&self, name: Name<'_>, new: &NewNode<'_>) -> Result<Node> {
        self.control.enter(Calls::CREATE)?;
        Ok(wrap(self.upper()?.create_over(name, new)?, &self.control))
    }

    fn link_over(&self, name: Name<'_>, node: &Node) -> Result<()> {
        self.control.enter(Calls::LINK)?;
        self.upper()?.link_over(name, &unwrap(node))
    }

    fn whiteout(&self, name: Name<'_>, victim: Victim) -> Result<()> {
        self.control.enter(Calls::WHITEOUT)?;
        self.upper()?.whiteout(name, victim)
    }

    fn remove_with_whiteouts(&self, name: Name<'_>) -> Result<()> {
        self.control.enter(Calls::REMOVE)?;
        self.upper()?.remove_with_whiteouts(name)
    }

    fn rename_upper(&self, op: &UpperRename<'_>) -> Result<()> {
        self.control.enter(Calls::RENAME)?;
        self.upper()?.rename_upper(&UpperRename { to: &Self::unwrap_dir(op.to), ..*op })
    }
}

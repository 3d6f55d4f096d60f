//! Operations on what is behind a name: content, attributes, extended attributes.

use alloc::format;
use alloc::vec::Vec;

use vfs::{AllocateMode, Errno, SetAttr, SetTime, Timestamp, XattrMode};

use super::compare;
use super::run::{REACH, Run, XATTRS, agree, draw_mode};
use super::state::{Expected, Kind, Object};
use crate::dsl::{same_bytes, show};
use crate::{Features, Outcome};

impl Run<'_> {
    pub(super) fn write(&mut self) -> Outcome {
        let Some((id, told, file)) = self.file()? else { return Ok(()) };
        let mut bytes = alloc::vec![0; 1 + self.random.below(9_000) as usize];
        self.random.fill(&mut bytes);
        let now = self.now();
        let offset = if self.random.one_in(3) {
            self.tell(format!("append {} bytes to {told}", bytes.len()));
            let (offset, written) = file.append(&bytes)?;
            crate::check_eq!((offset, written), (self.state.content(id).len() as u64, bytes.len()), "append");
            offset
        } else {
            let offset = self.random.below(REACH);
            self.tell(format!("write {} bytes at {offset} to {told}", bytes.len()));
            file.put(offset, &bytes)?;
            offset
        };
        self.state.write(id, offset as usize, &bytes, now);
        compare::object(self.env, &self.state, id, &file.node())
    }

    pub(super) fn set_len(&mut self) -> Outcome {
        let Some((id, told, file)) = self.file()? else { return Ok(()) };
        let (len, now) = (if self.random.one_in(4) { 0 } else { self.random.below(REACH) }, self.now());
        self.tell(format!("set_len {len} of {told}"));
        file.set_len(len)?;
        self.state.set_len(id, len as usize, now);
        compare::object(self.env, &self.state, id, &file.node())
    }

    pub(super) fn allocate(&mut self) -> Outcome {
        let mut modes = Vec::new();
        for (feature, offered) in [
            (Features::ALLOCATE, [AllocateMode::Extend, AllocateMode::KeepSize]),
            (Features::PUNCH_HOLE, [AllocateMode::PunchHole; 2]),
            (Features::ZERO_RANGE, [AllocateMode::ZeroRange, AllocateMode::ZeroRangeKeepSize]),
        ] {
            if self.env.has(feature) {
                modes.extend(offered);
            }
        }
        let Some((id, told, file)) = self.file()? else { return Ok(()) };
        if modes.is_empty() {
            return Ok(());
        }
        let mode = *self.random.pick(&modes);
        let (offset, len, now) = (self.random.below(REACH), 1 + self.random.below(15_000), self.now());
        self.tell(format!("allocate {mode:?} {offset}+{len} of {told}"));
        file.allocate(mode, offset, len)?;
        self.state.allocate(id, mode, offset as usize, len as usize, now);
        compare::object(self.env, &self.state, id, &file.node())
    }

    pub(super) fn read(&mut self) -> Outcome {
        let Some((id, told, file)) = self.file()? else { return Ok(()) };
        let (offset, len) = (self.random.below(REACH) as usize, self.random.below(10_000) as usize);
        self.tell(format!("read {len} bytes at {offset} of {told}"));
        let mut buf = alloc::vec![0xa5; len];
        let read = file.read_at(offset as u64, &mut buf)?;
        let content = self.state.content(id);
        let rest = content.get(offset..).unwrap_or_default();
        same_bytes("read", &buf[..read], &rest[..rest.len().min(len)])
    }

    pub(super) fn set_attr(&mut self) -> Outcome {
        let Some((id, told, node)) = self.node(|_| true)? else { return Ok(()) };
        let now = self.now();
        let mut change = SetAttr::default();
        let object = &mut self.state.objects[id];
        if self.random.one_in(2) && !matches!(object.kind, Kind::Symlink(_)) {
            object.mode = draw_mode(&mut self.random);
            change.mode = Some(object.mode);
        }
        if self.random.one_in(3) {
            object.uid = self.random.below(100_000) as u32;
            change.uid = Some(object.uid);
        }
        if self.random.one_in(3) {
            object.gid = self.random.below(100_000) as u32;
            change.gid = Some(object.gid);
        }
        if self.random.one_in(3) {
            let nanos = self.random.below(1_000_000_000) as u32;
            object.mtime = Timestamp { secs: self.random.below(4_000_000_000) as i64, nanos };
            change.mtime = Some(SetTime::At(object.mtime));
        }
        self.state.changed(id, now);
        self.tell(format!("set_attr {change:?} of {told}"));
        node.ops().set_attr(&change)?;
        compare::object(self.env, &self.state, id, &node)
    }

    pub(super) fn xattr(&mut self) -> Outcome {
        let has_any = |object: &Object| matches!(object.kind, Kind::File(_) | Kind::Dir { .. });
        let Some((id, told, node)) = self.node(has_any)? else { return Ok(()) };
        if !self.env.has(Features::USER_XATTRS) {
            return Ok(());
        }
        let (name, now) = (*self.random.pick(&XATTRS), self.now());
        let is_there = self.state.objects[id].xattrs.contains_key(name);
        if self.random.one_in(3) {
            self.tell(format!("remove_xattr {} of {told}", show(name)));
            let expected: Expected = if is_there { Ok(()) } else { Err(&[Errno::ENODATA]) };
            agree(node.ops().remove_xattr(name), expected)?;
            self.state.objects[id].xattrs.remove(name);
        } else {
            let mut value = alloc::vec![0; self.random.below(200) as usize];
            self.random.fill(&mut value);
            let mode = *self.random.pick(&[XattrMode::Set, XattrMode::Set, XattrMode::Create, XattrMode::Replace]);
            self.tell(format!("set_xattr {} {mode:?} {} bytes of {told}", show(name), value.len()));
            let expected: Expected = match (mode, is_there) {
                (XattrMode::Create, true) => Err(&[Errno::EEXIST]),
                (XattrMode::Replace, false) => Err(&[Errno::ENODATA]),
                _ => Ok(()),
            };
            if agree(node.ops().set_xattr(name, &value, mode), expected)?.is_none() {
                return compare::node(self.env, &self.state, id, &node);
            }
            self.state.objects[id].xattrs.insert(name.to_vec(), value);
            self.state.changed(id, now);
            return compare::node(self.env, &self.state, id, &node);
        }
        if is_there {
            self.state.changed(id, now);
        }
        compare::node(self.env, &self.state, id, &node)
    }
}

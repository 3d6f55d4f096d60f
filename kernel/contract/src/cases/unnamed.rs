//! Inodes without a name (`O_TMPFILE`).

use vfs::{NewKind, NewNode, Node};

use super::group;
use crate::dsl::{Dir, File, pattern};
use crate::tree::{dir, file};
use crate::{Env, Features, Outcome, check_eq, check_err};

group! {
    "unnamed", Features::WRITE.union(Features::UNNAMED);
    an_unnamed_file_is_not_listed,
    an_unnamed_file_is_written_and_read,
    an_unnamed_file_has_no_link,
    an_unnamed_file_leaves_the_parents_times,
    an_unnamed_file_gets_a_name_by_link,
    an_unnamed_file_is_refused_a_taken_name,
    a_named_one_that_loses_its_name_gets_no_other,
    a_dropped_one_gives_its_space_back + LIMITED_SPACE,
}

fn unnamed(dir: &Dir) -> vfs::Result<(Node, File)> {
    let node = dir.create_unnamed(&NewNode { uid: 7, gid: 8, ..NewNode::new(NewKind::File, 0o640) })?;
    let file = File(node.as_file()?.clone());
    Ok((node, file))
}

fn an_unnamed_file_is_not_listed(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"")])?;
    let _held = unnamed(&base)?;
    base.lists(&["f"])
}

fn an_unnamed_file_is_written_and_read(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let (_, file) = unnamed(&base)?;
    file.put(0, pattern(0, 20_000))?;
    file.append(b"end")?;
    check_eq!(file.size()?, 20_003);
    check_eq!(file.get(20_000, 3)?, b"end");
    Ok(())
}

fn an_unnamed_file_has_no_link(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let (node, _) = unnamed(&base)?;
    let attr = node.attr()?;
    check_eq!((attr.nlink, attr.mode, attr.uid, attr.gid), (0, 0o640, 7, 8));
    Ok(())
}

fn an_unnamed_file_leaves_the_parents_times(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let before = base.attr_of("d")?;
    env.clock.tick();
    let _held = unnamed(&base.dir("d")?)?;
    let after = base.attr_of("d")?;
    check_eq!((after.mtime, after.nlink), (before.mtime, before.nlink));
    Ok(())
}

fn an_unnamed_file_gets_a_name_by_link(env: &Env<'_>) -> Outcome {
    let base = env.start(&[dir(b"d")])?;
    let (node, file) = unnamed(&base)?;
    file.put(0, "content")?;
    base.dir("d")?.link("f", &node)?;
    base.holds("d/f", "content")?;
    let attr = base.attr_of("d/f")?;
    check_eq!((attr.nlink, attr.mode, attr.uid), (1, 0o640, 7));
    check_eq!(base.at("d/f")?.id(), node.id());
    base.link("g", &node)?;
    check_eq!(base.attr_of("g")?.nlink, 2);
    Ok(())
}

fn an_unnamed_file_is_refused_a_taken_name(env: &Env<'_>) -> Outcome {
    let base = env.start(&[file(b"f", b"1")])?;
    let (node, _) = unnamed(&base)?;
    check_err!(base.link("f", &node), EEXIST);
    base.holds("f", "1")?;
    base.link("g", &node)?;
    base.lists(&["f", "g"])
}

fn a_named_one_that_loses_its_name_gets_no_other(env: &Env<'_>) -> Outcome {
    let base = env.start(&[])?;
    let (node, _) = unnamed(&base)?;
    base.link("f", &node)?;
    base.unlink("f")?;
    check_err!(base.link("g", &node), ENOENT);
    base.lists(&[])
}

fn a_dropped_one_gives_its_space_back(env: &Env<'_>) -> Outcome {
    let base = env.start_small(&[], 8 << 20)?;
    for _ in 0..16 {
        let (_, file) = unnamed(&base)?;
        file.put(0, pattern(0, 2 << 20))?;
    }
    base.lists(&[])
}

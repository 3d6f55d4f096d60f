//! What a model begins with, what its threads do, and what must hold in the end.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use fs_overlay::{Layer, Layers, Options, OverlayFs};
use ramfs::RamFs;
use vfs::{DirOps, Expect, FileSystem, NewKind, NewNode, Node, OpenIntent, RenameMode, RenameOp, Result, SetAttr};

use crate::scheduler::{at_once, explore};
use crate::support::{Detail, Tree, context, entries, name, ram, read_all};

/// What a thread does in one call of the overlay; it answers what it saw.
pub(crate) type Step = fn(&World) -> String;

/// A model: layers, and threads that each do one step after another.
pub(crate) struct Model {
    pub(crate) options: Options,
    /// Builds the lower layer.
    pub(crate) build: fn(&Tree),
    /// What is open from the beginning, beside the directories.
    pub(crate) open: &'static [&'static str],
    pub(crate) threads: &'static [&'static [Step]],
}

/// What the threads saw, thread by thread, and what they left.
type Outcome = (Vec<Vec<String>>, BTreeMap<String, String>);

/// The layers of a model and what is open.
pub(crate) struct World {
    options: Options,
    lower: Arc<dyn FileSystem>,
    disk: Arc<RamFs>,
    fs: Option<Arc<OverlayFs>>,
    open: BTreeMap<String, Node>,
    /// What threads found and go on using, by where.
    kept: Mutex<Vec<Node>>,
    /// Whether a lower inode has several names, which part when one is copied up: then one number is two nodes.
    has_links: bool,
}

const INODES: u64 = 1 << 20;

impl World {
    fn new(model: &Model) -> Self {
        let lower: Arc<dyn FileSystem> = ram();
        let tree = Tree::of(&*lower);
        (model.build)(&tree);
        let options = ramfs::Options { uuid: [7; 16], inode_limit: Some(INODES), ..Default::default() };
        let disk = RamFs::new(context(), &options).unwrap();
        for dir in ["u", "w"] {
            Tree::of(&*disk).mkdir(dir).unwrap();
        }
        let is_linked = |path: &String| tree.dir(path).is_err() && tree.get(path).unwrap().attr().unwrap().nlink > 1;
        let has_links = lines(&tree).iter().any(is_linked);
        let mut world = Self {
            options: model.options,
            lower,
            disk,
            fs: None,
            open: BTreeMap::new(),
            kept: Mutex::default(),
            has_links,
        };
        world.mount();
        world.open.insert(String::new(), Node::Dir(world.tree().0));
        let mut open: Vec<String> = model.open.iter().map(|&path| path.to_owned()).collect();
        // From the lower layer: the overlay's directories are not listed before the threads do.
        open.extend(lines(&tree).into_iter().filter(|path| tree.dir(path).is_ok()));
        for path in open {
            let node = world.tree().get(&path).unwrap();
            world.open.insert(path, node);
        }
        world
    }

    fn mount(&mut self) {
        let disk: Arc<dyn FileSystem> = self.disk.clone();
        let at = |path: &str| Layer { fs: disk.clone(), root: Tree::of(&*disk).dir(path).unwrap() };
        let layers = Layers { upper: Some(at("u")), work: Some(at("w")), lowers: vec![Layer::of(self.lower.clone())] };
        self.fs = Some(OverlayFs::mount(context(), layers, self.options).unwrap());
    }

    /// The merged tree.
    pub(crate) fn tree(&self) -> Tree {
        Tree::of(&**self.fs.as_ref().unwrap())
    }

    fn node(&self, path: &str) -> &Node {
        &self.open[path]
    }

    fn dir(&self, path: &str) -> &Arc<dyn DirOps> {
        self.node(path).as_dir().unwrap()
    }

    /// The open directory above, and the name in it.
    fn at<'a>(&self, path: &'a str) -> (&Arc<dyn DirOps>, vfs::Name<'a>) {
        let (parent, last) = path.rsplit_once('/').unwrap_or(("", path));
        (self.dir(parent), name(last))
    }

    // Each of these is one call. Directories are named by the path where they were in the beginning.

    pub(crate) fn open_to_write(&self, path: &str) -> String {
        told(self.node(path).as_file().unwrap().prepare_open(OpenIntent::Write))
    }

    pub(crate) fn append(&self, path: &str, data: &str) -> String {
        told(self.node(path).as_file().unwrap().append(data.as_bytes()).map(drop))
    }

    pub(crate) fn resize(&self, path: &str, len: u64) -> String {
        told(self.node(path).as_file().unwrap().set_len(len))
    }

    pub(crate) fn chmod(&self, path: &str, mode: u16) -> String {
        told(self.node(path).ops().set_attr(&SetAttr { mode: Some(mode), ..SetAttr::default() }))
    }

    pub(crate) fn read(&self, path: &str) -> String {
        let mut content = [0; 64];
        let len = self.node(path).as_file().unwrap().read_at(0, &mut content).unwrap();
        String::from_utf8_lossy(&content[..len]).into_owned()
    }

    pub(crate) fn create(&self, path: &str) -> String {
        let (dir, last) = self.at(path);
        told(dir.create(last, &NewNode::new(NewKind::File, 0o644)).map(drop))
    }

    pub(crate) fn mkdir(&self, path: &str) -> String {
        let (dir, last) = self.at(path);
        told(dir.create(last, &NewNode::new(NewKind::Dir, 0o755)).map(drop))
    }

    pub(crate) fn unlink(&self, path: &str) -> String {
        let (dir, last) = self.at(path);
        told(dir.remove(last, Expect::NonDir))
    }

    pub(crate) fn rmdir(&self, path: &str) -> String {
        let (dir, last) = self.at(path);
        told(dir.remove(last, Expect::EmptyDir))
    }

    pub(crate) fn rename(&self, from: &str, to: &str, mode: RenameMode) -> String {
        let ((from, old), (to, new)) = (self.at(from), self.at(to));
        told(from.rename(&RenameOp { name: old, to, new_name: new, mode }))
    }

    /// Gives what is open at `path` another name.
    pub(crate) fn link(&self, path: &str, to: &str) -> String {
        let (dir, last) = self.at(to);
        told(dir.link(last, self.node(path)))
    }

    /// Looks a name up, and goes on using what is there.
    pub(crate) fn find(&self, path: &str) -> String {
        let (dir, last) = self.at(path);
        let found = dir.lookup(last).unwrap();
        let answer = format!("{:?}", found.as_ref().map(Node::file_type));
        self.kept.lock().unwrap().extend(found);
        answer
    }

    /// Looks a name up, and lets it go.
    pub(crate) fn glance(&self, path: &str) -> String {
        let (dir, last) = self.at(path);
        format!("{:?}", dir.lookup(last).unwrap().map(|node| node.file_type()))
    }

    /// Lets go what was found so far.
    pub(crate) fn let_go(&self) -> String {
        let kept = std::mem::take(&mut *self.kept.lock().unwrap());
        drop(kept);
        String::new()
    }

    /// Lists a directory. What is seen while others change it depends on when; each name is there once.
    pub(crate) fn list(&self, path: &str) -> String {
        let names: Vec<_> = entries(&**self.dir(path)).into_iter().map(|(name, ..)| name).collect();
        let unique: BTreeSet<_> = names.iter().collect();
        assert_eq!(unique.len(), names.len(), "a name was listed twice: {names:?}");
        for stays in lines(&Tree::of(&*self.lower)).iter().filter_map(|line| line.strip_prefix(path)) {
            let stays = stays.trim_start_matches('/');
            assert!(!stays.starts_with("stays") || unique.contains(&stays.to_owned()), "{stays} is not in {names:?}");
        }
        String::new()
    }

    /// What is left: the merged tree, and what the open nodes show.
    fn left(&self) -> BTreeMap<String, String> {
        let tree = self.tree();
        let mut left = tree.dump(Detail::Content);
        for path in lines(&tree).into_iter().filter(|path| tree.dir(path).is_err()) {
            left.insert(format!("links of {path}"), tree.get(&path).unwrap().attr().unwrap().nlink.to_string());
        }
        for (path, node) in &self.open {
            if let Node::File(file) = node {
                let content = String::from_utf8_lossy(&read_all(&**file).unwrap()).into_owned();
                left.insert(format!("open {path}"), format!("{:?} {content}", node.attr().unwrap().nlink));
            }
        }
        left
    }

    /// What must hold however the threads met: no inode has two nodes in use, a remount shows the same tree, nothing is in use or
    /// in the upper that no name leads to.
    fn check(mut self) {
        let tree = self.tree();
        if !self.has_links {
            let mut nodes: BTreeMap<u64, u64> = BTreeMap::new();
            let kept = self.kept.lock().unwrap();
            let found: Vec<Node> = lines(&tree).iter().map(|path| tree.get(path).unwrap()).collect();
            for node in kept.iter().chain(self.open.values()).chain(&found) {
                let (number, identity) = (node.id().ino, node.ops().identity());
                let other = *nodes.entry(number).or_insert(identity);
                assert_eq!(other, identity, "two nodes of inode {number:#x} in use");
            }
        }
        let shown = tree.dump(Detail::Content);
        drop(tree);
        self.open.clear();
        self.kept.lock().unwrap().clear();
        let fs = self.fs.take().unwrap();
        assert_eq!(fs.nodes_in_use(), 0, "nodes that nobody uses");
        fs.unmount().unwrap();
        drop(fs);
        let disk = Tree::of(&*self.disk);
        let stat = self.disk.statfs().unwrap();
        let in_use = stat.files - stat.files_free;
        assert_eq!(in_use, lines(&disk).len() as u64 + 1, "inodes without a name in {:#?}", disk.dump(Detail::Raw));
        drop(disk);
        self.mount();
        assert_eq!(self.tree().dump(Detail::Content), shown, "another tree after a remount");
    }
}

fn told(result: Result<()>) -> String {
    result.map_or_else(|error| format!("{:?}", error.errno()), |()| String::new())
}

/// The paths of a tree, without its root.
fn lines(tree: &Tree) -> Vec<String> {
    tree.dump(Detail::Content).into_keys().filter(|path| path != "/").map(|path| path[1..].to_owned()).collect()
}

/// Every outcome of the threads' steps one after another, in all orders that keep those of a thread.
fn in_turn(model: &Model) -> Vec<Outcome> {
    fn go_on(model: &Model, order: &mut Vec<usize>, outcomes: &mut Vec<Outcome>) {
        let mut is_whole = true;
        for (thread, steps) in model.threads.iter().enumerate() {
            if order.iter().filter(|&&other| other == thread).count() < steps.len() {
                is_whole = false;
                order.push(thread);
                go_on(model, order, outcomes);
                order.pop();
            }
        }
        if is_whole {
            let world = World::new(model);
            let mut seen = vec![Vec::new(); model.threads.len()];
            for &thread in &*order {
                let step = model.threads[thread][seen[thread].len()];
                seen[thread].push(step(&world));
            }
            let outcome = (seen, world.left());
            if !outcomes.contains(&outcome) {
                outcomes.push(outcome);
            }
            world.check();
        }
    }
    let mut outcomes = Vec::new();
    go_on(model, &mut Vec::new(), &mut outcomes);
    outcomes
}

/// Checks that the threads of `model`, however they are scheduled, see and leave what they see and leave one after another.
pub(crate) fn check(model: &'static Model) {
    let outcomes = in_turn(model);
    explore(16, move || {
        let world = World::new(model);
        let seen: Vec<Mutex<Vec<String>>> = model.threads.iter().map(|_| Mutex::default()).collect();
        at_once(model.threads.len(), &|thread: usize| {
            for step in model.threads[thread] {
                let answer = step(&world);
                seen[thread].lock().unwrap().push(answer);
            }
        });
        let seen = seen.into_iter().map(|seen| seen.into_inner().unwrap()).collect();
        let now = (seen, world.left());
        assert!(outcomes.contains(&now), "at once {now:#?}, in turn one of {outcomes:#?}");
        world.check();
    });
}

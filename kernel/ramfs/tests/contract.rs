//! ramfs under the contract suite, the model, and threads.

use contract::{Features, Fixture, Mounted, Setup};
use ramfs::{Options, RamFs};
use vfs::FileSystem;

struct Ram;

impl Fixture for Ram {
    fn features(&self) -> Features {
        Features::COMPLETE | Features::LIMITED_SPACE
    }

    fn mount(&self, setup: &Setup<'_>) -> vfs::Result<Mounted> {
        let options = Options { size_limit: setup.space, ..Options::default() };
        let fs = RamFs::new(setup.context.clone(), &options)?;
        contract::tree::build(&fs.root(), setup.tree)?;
        Ok(Mounted::new(fs))
    }
}

contract::contract_tests!(Ram);
contract::stress_tests!(Ram);

//! What stands for the suites in a kernel that was built without them, as release builds are: the tests are more than half
//! of the code. `--features suites` puts them in.

use crate::console;
use crate::power::{Outcome, exit};

/// Says that there is nothing to run, and ends the machine with a failure.
pub(crate) fn run(pattern: &str) -> ! {
    console::print(format_args!(
        "suite={pattern}: this kernel was built without suites; use the development profile, or `--features suites`\n"
    ));
    exit(Outcome::Failure)
}

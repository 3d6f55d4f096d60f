//! Ways to end on purpose: the host's test sees the machine go. They run only when asked for by name.

use crate::{power, test};

test!(
    "power",
    fn switching_off() {
        power::off()
    }
);

test!(
    "power",
    fn starting_again() {
        power::restart()
    }
);

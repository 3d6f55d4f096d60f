//! The list of scenarios.

use super::Scenario;
use super::contents::{
    all_records_are_there, append_records, both_halves_are_there, change_modes, cut, halves, log, pages, read_anywhere,
    read_pages, read_pages_once, read_records, use_and_unlink, write_anywhere, write_half, write_pages,
};
use super::names::{
    churn, create_about, every_inode_has_one_name, exchange_about, exchanged, fill_dirs, fill_wanderers, link_about,
    links_are_counted, list_stays, list_stays_once, look_at_exchanged, look_at_exchanged_once, make_dirs, remove_dirs,
    rename_about, replace_dirs, stays, two_dirs, unlink_about, unlink_links, upper_about, uppers_are_whole, wander,
    wanderers,
};
use crate::Features;

pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "renames, unlinks and creations of the same names leave every inode one name",
        needs: Features::WRITE,
        tree: two_dirs,
        workers: &[rename_about, rename_about, unlink_about, create_about],
        check: every_inode_has_one_name,
    },
    Scenario {
        name: "names that are exchanged are always there",
        needs: Features::WRITE.union(Features::EXCHANGE),
        tree: exchanged,
        workers: &[exchange_about, exchange_about, look_at_exchanged, look_at_exchanged],
        check: look_at_exchanged_once,
    },
    Scenario {
        name: "a listing gives what stays exactly once while others come and go",
        needs: Features::WRITE,
        tree: stays,
        workers: &[churn, churn, list_stays, list_stays],
        check: list_stays_once,
    },
    Scenario {
        name: "a read sees a page before or after a write",
        needs: Features::WRITE,
        tree: pages,
        workers: &[write_pages, write_pages, read_pages, read_pages],
        check: read_pages_once,
    },
    Scenario {
        name: "no append is lost or torn",
        needs: Features::WRITE,
        tree: log,
        workers: &[append_records, append_records, append_records, read_records],
        check: all_records_are_there,
    },
    Scenario {
        name: "links that come and go are counted",
        needs: Features::WRITE.union(Features::HARD_LINKS),
        tree: two_dirs,
        workers: &[link_about, link_about, unlink_links, unlink_links],
        check: links_are_counted,
    },
    Scenario {
        name: "no file is lost in a directory that is removed",
        needs: Features::WRITE,
        tree: two_dirs,
        workers: &[make_dirs, fill_dirs, fill_dirs, remove_dirs],
        check: every_inode_has_one_name,
    },
    Scenario {
        name: "directories that change their parents stay whole",
        needs: Features::WRITE,
        tree: wanderers,
        workers: &[wander, wander, fill_wanderers, replace_dirs],
        check: every_inode_has_one_name,
    },
    Scenario {
        name: "cuts, writes and reads of one file agree on its size",
        needs: Features::WRITE,
        tree: log,
        workers: &[cut, write_anywhere, read_anywhere, read_anywhere],
        check: every_inode_has_one_name,
    },
    Scenario {
        name: "a file that loses its name under its users keeps its content",
        needs: Features::WRITE.union(Features::OPEN_UNLINKED),
        tree: two_dirs,
        workers: &[use_and_unlink, use_and_unlink, use_and_unlink],
        check: every_inode_has_one_name,
    },
    Scenario {
        name: "first writes of two threads to one file both land",
        needs: Features::WRITE,
        tree: halves,
        workers: &[write_half, write_half, change_modes],
        check: both_halves_are_there,
    },
    Scenario {
        name: "whiteouts, creations and moves in an upper leave every inode one name",
        needs: Features::WRITE.union(Features::UPPER),
        tree: two_dirs,
        workers: &[upper_about, upper_about, upper_about],
        check: uppers_are_whole,
    },
];

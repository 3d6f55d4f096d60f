//! Listings of directories that change meanwhile.

use alloc::collections::{BTreeMap, BTreeSet};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use super::group;
use crate::dsl::{Dir, show};
use crate::random::Random;
use crate::tree::{dir, file};
use crate::{Env, Features, Outcome, check, check_eq};

group! {
    "readdir", Features::WRITE;
    a_listing_shows_what_was_created_and_not_what_was_removed,
    a_listing_goes_on_after_its_last_entry_was_removed,
    a_listing_goes_on_after_all_it_gave_was_removed,
    a_directory_is_emptied_while_it_is_listed,
    entries_that_stay_are_listed_once_while_others_come,
    entries_that_stay_are_listed_once_while_others_go,
    entries_that_stay_are_listed_once_while_all_changes,
    an_entry_that_is_replaced_meanwhile_is_listed_once,
    a_listing_that_began_before_a_creation_ends,
    a_cookie_stays_valid_after_many_changes,
    two_listings_do_not_disturb_each_other,
    a_rename_is_seen_under_the_new_name,
    a_listing_of_a_hundred_thousand_entries_is_complete + LARGE,
}

/// `count` files in a directory of their own.
fn with_many(env: &Env<'_>, count: usize) -> Outcome<Dir> {
    let names: Vec<_> = (0..count).map(|number| format!("d/stay {number:04}")).collect();
    let mut tree = Vec::from([dir(b"d")]);
    tree.extend(names.iter().map(|name| file(name.as_bytes(), b"")));
    env.start(&tree)?.dir("d")
}

/// How often a listing in steps gave each name, `between` being called after each step.
fn walk(dir: &Dir, step: usize, mut between: impl FnMut(&[String]) -> Outcome) -> Outcome<BTreeMap<String, usize>> {
    let (mut seen, mut from) = (BTreeMap::new(), 0);
    loop {
        let piece = dir.list_from(from, step)?;
        let Some(last) = piece.last() else { return Ok(seen) };
        from = last.next;
        let names: Vec<_> = piece.iter().map(|entry| show(&entry.name)).collect();
        for name in &names {
            *seen.entry(name.clone()).or_insert(0) += 1;
        }
        check!(seen.len() < 10_000, "the listing does not end");
        between(&names)?;
    }
}

/// Fails unless every entry that stayed was given once, and no other more than once for each time it was made.
fn stayed_once(seen: &BTreeMap<String, usize>, stayed: impl Iterator<Item = String>) -> Outcome {
    for name in stayed {
        check_eq!(seen.get(&name).copied().unwrap_or(0), 1, "times that {name} was listed");
    }
    Ok(())
}

fn stay(number: usize) -> String {
    format!("stay {number:04}")
}

fn a_listing_shows_what_was_created_and_not_what_was_removed(env: &Env<'_>) -> Outcome {
    let d = with_many(env, 3)?;
    d.file("new", "")?;
    d.unlink("stay 0001")?;
    d.lists(&["new", "stay 0000", "stay 0002"])
}

fn a_listing_goes_on_after_its_last_entry_was_removed(env: &Env<'_>) -> Outcome {
    let d = with_many(env, 20)?;
    let whole = d.list_from(0, usize::MAX)?;
    for (position, entry) in whole.iter().enumerate() {
        d.unlink(&entry.name)?;
        let rest = d.list_from(entry.next, usize::MAX)?;
        check_eq!(rest, whole[position + 1..], "the listing after {}", show(&entry.name));
    }
    Ok(())
}

fn a_listing_goes_on_after_all_it_gave_was_removed(env: &Env<'_>) -> Outcome {
    let d = with_many(env, 200)?;
    let first = d.list_from(0, 100)?;
    for entry in &first {
        d.unlink(&entry.name)?;
    }
    let rest = d.list_from(first[99].next, usize::MAX)?;
    check_eq!(rest.len(), 100);
    let names: BTreeSet<_> = first.iter().chain(&rest).map(|entry| &entry.name).collect();
    check_eq!(names.len(), 200);
    Ok(())
}

fn a_directory_is_emptied_while_it_is_listed(env: &Env<'_>) -> Outcome {
    for step in [1, 7, 64] {
        let d = with_many(env, 150)?;
        let seen = walk(&d, step, |names| names.iter().try_for_each(|name| Ok(d.unlink(name)?)))?;
        check_eq!(seen.len(), 150, "entries listed in steps of {step}");
        d.lists(&[])?;
    }
    Ok(())
}

fn entries_that_stay_are_listed_once_while_others_come(env: &Env<'_>) -> Outcome {
    let d = with_many(env, 100)?;
    let mut made = 0;
    let seen = walk(&d, 3, |_| {
        // Fewer than are listed, or a listing of new entries would never end.
        if made < 200 {
            d.file(format!("new {made}"), "")?;
            made += 1;
        }
        Ok(())
    })?;
    stayed_once(&seen, (0..100).map(stay))?;
    check!(seen.values().all(|&times| times == 1), "an entry was listed twice");
    Ok(())
}

fn entries_that_stay_are_listed_once_while_others_go(env: &Env<'_>) -> Outcome {
    let d = with_many(env, 200)?;
    let mut doomed: Vec<_> = (0..200).step_by(2).collect();
    let seen = walk(&d, 3, |_| {
        for _ in 0..5 {
            if let Some(number) = doomed.pop() {
                d.unlink(stay(number))?;
            }
        }
        Ok(())
    })?;
    stayed_once(&seen, (1..200).step_by(2).map(stay))
}

fn entries_that_stay_are_listed_once_while_all_changes(env: &Env<'_>) -> Outcome {
    for seed in 0..5 {
        let d = with_many(env, 120)?;
        let (mut random, mut others, mut made) = (Random::new(seed), Vec::new(), 0);
        let seen = walk(&d, 1 + random.clone().below(9) as usize, |_| {
            for _ in 0..random.below(6) {
                if others.len() < 40 && made < 300 && !random.one_in(3) {
                    let name = format!("other {made}");
                    made += 1;
                    d.file(&name, "")?;
                    others.push(name);
                } else if !others.is_empty() {
                    let position = random.below(others.len() as u64) as usize;
                    d.unlink(others.swap_remove(position))?;
                }
            }
            Ok(())
        })?;
        stayed_once(&seen, (0..120).map(stay))?;
        check!(seen.values().all(|&times| times == 1), "an entry was listed twice, seed {seed}");
    }
    Ok(())
}

fn an_entry_that_is_replaced_meanwhile_is_listed_once(env: &Env<'_>) -> Outcome {
    let d = with_many(env, 60)?;
    let mut number = 0;
    let seen = walk(&d, 4, |_| {
        if number < 60 {
            d.file("fresh", "new")?;
            d.mv("fresh", stay(number))?;
            number += 1;
        }
        Ok(())
    })?;
    for name in (0..60).map(stay) {
        check!(seen.get(&name).is_some_and(|&times| times >= 1), "{name} was not listed");
    }
    Ok(())
}

fn a_listing_that_began_before_a_creation_ends(env: &Env<'_>) -> Outcome {
    let d = with_many(env, 10)?;
    let whole = d.list_from(0, usize::MAX)?;
    let end = whole[9].next;
    check_eq!(d.list_from(end, usize::MAX)?.len(), 0);
    d.file("late", "")?;
    let late = d.list_from(end, usize::MAX)?;
    check!(late.len() <= 1, "the end of the listing gives {late:?}");
    check_eq!(d.list()?.len(), 11);
    Ok(())
}

fn a_cookie_stays_valid_after_many_changes(env: &Env<'_>) -> Outcome {
    let d = with_many(env, 100)?;
    let half = d.list_from(0, 50)?;
    let given: BTreeSet<_> = half.iter().map(|entry| entry.name.clone()).collect();
    for round in 0..20 {
        for number in 0..100 {
            d.file(format!("round {round} {number}"), "")?;
        }
        for number in 0..100 {
            d.unlink(format!("round {round} {number}"))?;
        }
    }
    let rest: Vec<_> = d.list_from(half[49].next, usize::MAX)?.into_iter().map(|entry| entry.name).collect();
    check_eq!(rest.len(), 50);
    check!(rest.iter().all(|name| !given.contains(name)), "an entry was listed twice");
    Ok(())
}

fn two_listings_do_not_disturb_each_other(env: &Env<'_>) -> Outcome {
    let d = with_many(env, 40)?;
    let (mut one, mut other) = (Vec::new(), Vec::new());
    let (mut one_from, mut other_from) = (0, 0);
    for _ in 0..60 {
        for (listed, from, step) in [(&mut one, &mut one_from, 1), (&mut other, &mut other_from, 3)] {
            for entry in d.list_from(*from, step)? {
                *from = entry.next;
                listed.push(entry);
            }
        }
    }
    check_eq!(one.len(), 40);
    check_eq!(one, other);
    Ok(())
}

fn a_rename_is_seen_under_the_new_name(env: &Env<'_>) -> Outcome {
    let d = with_many(env, 3)?;
    d.mv("stay 0001", "moved")?;
    d.lists(&["moved", "stay 0000", "stay 0002"])?;
    d.mv("moved", "stay 0002")?;
    d.lists(&["stay 0000", "stay 0002"])
}

fn a_listing_of_a_hundred_thousand_entries_is_complete(env: &Env<'_>) -> Outcome {
    const COUNT: usize = 100_000;
    let d = env.start(&[])?.mkdir("d")?;
    for number in 0..COUNT {
        d.make(format!("entry {number}"), vfs::NewKind::File)?;
    }
    let mut seen = alloc::vec![false; COUNT];
    let (mut from, mut total) = (0, 0);
    loop {
        let piece = d.list_from(from, 500)?;
        let Some(last) = piece.last() else { break };
        from = last.next;
        total += piece.len();
        for entry in &piece {
            let number = show(&entry.name).strip_prefix("entry ").and_then(|text| text.parse::<usize>().ok());
            if let Some(place) = number.and_then(|number| seen.get_mut(number)) {
                *place = true;
            }
        }
    }
    check_eq!(total, COUNT);
    check!(seen.iter().all(|&there| there), "an entry is missing");
    Ok(())
}

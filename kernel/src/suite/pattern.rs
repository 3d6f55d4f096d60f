//! Patterns that select tests: `*` for any text, `?` for any character.

/// Suites that have to be named: two end the machine, one measures.
const SPECIAL: [&str; 3] = ["crash", "power", "speed"];

/// Whether `pattern` selects a test: by `suite::name`, or by its suite alone.
pub(super) fn selects(pattern: &str, suite: &str, name: &str) -> bool {
    if SPECIAL.contains(&suite) && !pattern.starts_with(suite) {
        return false;
    }
    let full = suite.chars().chain("::".chars()).chain(name.chars());
    matches(pattern, full) || matches(pattern, suite.chars())
}

/// Goes back to the last `*` when a character does not fit: time is the product of both lengths at most.
fn matches(pattern: &str, text: impl Iterator<Item = char> + Clone) -> bool {
    let (mut pattern, mut text) = (pattern.chars(), text);
    let mut retry = None;
    loop {
        let (mut next_pattern, mut next_text) = (pattern.clone(), text.clone());
        match (next_pattern.next(), next_text.next()) {
            (Some('*'), _) => {
                pattern = next_pattern;
                retry = Some((pattern.clone(), text.clone()));
                continue;
            }
            (None, None) => return true,
            (Some(expected), Some(found)) if expected == '?' || expected == found => {
                pattern = next_pattern;
                text = next_text;
                continue;
            }
            _ => {}
        }
        let Some((star, mut from)) = retry.take() else { return false };
        if from.next().is_none() {
            return false;
        }
        pattern = star.clone();
        text = from.clone();
        retry = Some((star, from));
    }
}

crate::test!(
    "boot",
    fn patterns_select_by_name_and_by_suite() {
        for (pattern, expected) in [
            ("memory", true),
            ("mem*", true),
            ("memory::frames", true),
            ("*frames", true),
            ("m?mory::f*s", true),
            ("*", true),
            ("frames", false),
            ("memory::", false),
            ("*x*", false),
            ("", false),
        ] {
            crate::ensure!(selects(pattern, "memory", "frames") == expected, "`{pattern}`");
        }
        Ok(())
    }
);

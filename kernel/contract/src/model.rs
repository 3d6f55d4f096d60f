//! x
/// x
pub fn run(_f: &dyn crate::Fixture, _s: u64, _o: u64) -> crate::Outcome {
    Ok(())
}

//! The local APIC and the I/O APICs.

/// Tells the local APIC that the current interrupt has been dealt with.
pub fn end_of_interrupt() {}

//! Interrupt vectors for devices.
//!
//! A driver takes a vector with [`register`] and programs its device or the I/O APIC to deliver it. Handlers run with
//! interrupts off on a landing stack: they take note and return, they neither block nor allocate.
//!
//! Locks: [`HANDLERS`], an `IrqMutex`, released before a handler is called.

use drivers::apic;

use drivers::IrqMutex;

/// The first vector for devices: those below are exceptions.
const FIRST: u8 = 0x30;
/// How many vectors devices can have.
const COUNT: usize = 64;

/// The local APIC's spurious vector: not acknowledged.
pub(crate) const SPURIOUS: u8 = 0xff;

/// Code to run on an interrupt, with the number that was registered.
pub(crate) type Handler = fn(usize);

static HANDLERS: IrqMutex<heapless::Vec<(Handler, usize), COUNT>> = IrqMutex::new(heapless::Vec::new());

/// Takes the next vector for `handler`, which is called with `argument`; `None` when there are no more.
pub(crate) fn register(handler: Handler, argument: usize) -> Option<u8> {
    let mut handlers = HANDLERS.lock();
    let vector = FIRST + handlers.len() as u8;
    handlers.push((handler, argument)).ok()?;
    Some(vector)
}

/// Runs the handler of `vector`.
pub(super) fn handle(vector: u8) {
    if vector == SPURIOUS {
        return;
    }
    let handler = vector.checked_sub(FIRST).and_then(|index| HANDLERS.lock().get(usize::from(index)).copied());
    match handler {
        Some((handler, argument)) => handler(argument),
        None => log::warn!("interrupt on vector {vector:#x}, which nobody asked for"),
    }
    apic::end_of_interrupt();
}

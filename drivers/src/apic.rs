//! Interrupt controllers: the local APIC and its timer, the I/O APICs, the old PIC (Intel SDM volume 3, chapter 11;
//! 82093AA data sheet).

use core::ptr::NonNull;
use core::sync::atomic::{AtomicPtr, AtomicU32, Ordering};

use heapless::Vec;

use crate::acpi::{Acpi, IoApic, Override, Polarity, Signal, Trigger};
use crate::{IrqMutex, platform, port};

/// Register offsets of the local APIC.
mod local {
    pub(super) const ID: usize = 0x20;
    pub(super) const TASK_PRIORITY: usize = 0x80;
    pub(super) const END_OF_INTERRUPT: usize = 0xb0;
    pub(super) const SPURIOUS: usize = 0xf0;
    pub(super) const TIMER: usize = 0x320;
    pub(super) const LINT0: usize = 0x350;
    pub(super) const LINT1: usize = 0x360;
    pub(super) const ERROR: usize = 0x370;
    pub(super) const INITIAL_COUNT: usize = 0x380;
    pub(super) const CURRENT_COUNT: usize = 0x390;
    pub(super) const DIVIDE: usize = 0x3e0;
}

const MASKED: u32 = 1 << 16;
/// Where local APICs are unless the tables say otherwise.
const DEFAULT_LOCAL: u64 = 0xfee0_0000;
/// Where the I/O APIC is unless the tables say otherwise.
const DEFAULT_IO: IoApic = IoApic { address: 0xfec0_0000, first_input: 0 };

static LOCAL: AtomicPtr<u8> = AtomicPtr::new(core::ptr::null_mut());
static LOCAL_ID: AtomicU32 = AtomicU32::new(0);
static INPUTS: IrqMutex<Inputs> = IrqMutex::new(Inputs { controllers: Vec::new(), overrides: Vec::new() });

struct Inputs {
    controllers: Vec<Controller, 4>,
    overrides: Vec<Override, 16>,
}

struct Controller {
    registers: NonNull<u8>,
    first_input: u32,
    count: u32,
}

// SAFETY: the pointer is to device registers, which any context may use under the lock that holds the `Controller`.
unsafe impl Send for Controller {}

/// An interrupt controller could not be set up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ApicError {
    /// No memory to map its registers.
    OutOfMemory,
    /// No I/O APIC has that input.
    NoSuchInput(u32),
}

/// Switches the old controller off and the new ones on, every input masked. `spurious` is the vector for interrupts
/// that vanish before they are delivered.
///
/// # Errors
///
/// [`ApicError::OutOfMemory`].
pub fn init(acpi: &Acpi, spurious: u8) -> Result<(), ApicError> {
    silence_pic();
    let local = map(acpi.local_apic.unwrap_or(DEFAULT_LOCAL), 4096)?;
    LOCAL.store(local.as_ptr(), Ordering::Relaxed);
    LOCAL_ID.store(read(local::ID) >> 24, Ordering::Relaxed);
    write(local::TIMER, MASKED);
    write(local::LINT0, MASKED);
    write(local::LINT1, MASKED);
    write(local::ERROR, MASKED);
    write(local::TASK_PRIORITY, 0);
    write(local::SPURIOUS, 0x100 | u32::from(spurious));

    let mut inputs = INPUTS.lock();
    inputs.overrides = acpi.overrides.clone();
    let found: &[IoApic] = if acpi.io_apics.is_empty() { &[DEFAULT_IO] } else { &acpi.io_apics };
    for io in found {
        let registers = map(io.address, 32)?;
        let mut controller = Controller { registers, first_input: io.first_input, count: 0 };
        controller.count = (controller.read(1) >> 16 & 0xff) + 1;
        for input in 0..controller.count {
            controller.route(input, MASKED, 0);
        }
        // There is room: both lists hold four.
        let _ = inputs.controllers.push(controller);
    }
    Ok(())
}

fn map(physical: u64, length: usize) -> Result<NonNull<u8>, ApicError> {
    platform::get().and_then(|platform| platform.map_device(physical, length)).ok_or(ApicError::OutOfMemory)
}

/// Moves the old controller's interrupts away from the exceptions' vectors and masks them all.
fn silence_pic() {
    const COMMANDS: [(u16, u8); 10] = [
        (0x20, 0x11),
        (0xa0, 0x11),
        (0x21, 0x20),
        (0xa1, 0x28),
        (0x21, 0x04),
        (0xa1, 0x02),
        (0x21, 0x01),
        (0xa1, 0x01),
        (0x21, 0xff),
        (0xa1, 0xff),
    ];
    for (port, value) in COMMANDS {
        // SAFETY: the ports of the two 8259 controllers, or of nothing; nobody else drives them.
        unsafe { port::write8(port, value) };
    }
}

impl Controller {
    fn read(&self, register: u32) -> u32 {
        self.select(register);
        // SAFETY: `init` mapped the registers; the window shows the selected one.
        unsafe { self.registers.add(0x10).cast::<u32>().read_volatile() }
    }

    fn write(&self, register: u32, value: u32) {
        self.select(register);
        // SAFETY: as in `read`; what is written routes an interrupt to a vector that has a handler.
        unsafe { self.registers.add(0x10).cast::<u32>().write_volatile(value) };
    }

    fn select(&self, register: u32) {
        // SAFETY: as in `read`.
        unsafe { self.registers.cast::<u32>().write_volatile(register) };
    }

    fn route(&self, input: u32, low: u32, destination: u32) {
        let register = 0x10 + 2 * input;
        self.write(register, MASKED);
        self.write(register + 1, destination << 24);
        self.write(register, low);
    }
}

/// Delivers global input `input` to `vector` on this processor.
///
/// # Errors
///
/// [`ApicError::NoSuchInput`].
pub fn enable_input(input: u32, signal: Signal, vector: u8) -> Result<(), ApicError> {
    let inputs = INPUTS.lock();
    let controller = inputs
        .controllers
        .iter()
        .find(|controller| (controller.first_input..controller.first_input + controller.count).contains(&input))
        .ok_or(ApicError::NoSuchInput(input))?;
    let mut low = u32::from(vector);
    if signal.polarity == Polarity::Low {
        low |= 1 << 13;
    }
    if signal.trigger == Trigger::Level {
        low |= 1 << 15;
    }
    controller.route(input - controller.first_input, low, LOCAL_ID.load(Ordering::Relaxed));
    Ok(())
}

/// Delivers ISA interrupt `irq` to `vector` on this processor.
///
/// # Errors
///
/// [`ApicError::NoSuchInput`].
pub fn enable_isa(irq: u8, vector: u8) -> Result<(), ApicError> {
    let moved = INPUTS.lock().overrides.iter().find(|entry| entry.irq == irq).copied();
    match moved {
        Some(entry) => enable_input(entry.input, entry.signal, vector),
        None => enable_input(irq.into(), Signal::ISA, vector),
    }
}

/// The address and data of a message that interrupts this processor at `vector` (SDM volume 3, 11.11).
#[must_use]
pub fn message(vector: u8) -> (u64, u32) {
    (DEFAULT_LOCAL | u64::from(LOCAL_ID.load(Ordering::Relaxed)) << 12, u32::from(vector))
}

/// Tells the local APIC that the current interrupt has been dealt with.
pub fn end_of_interrupt() {
    write(local::END_OF_INTERRUPT, 0);
}

/// Lets the timer count down from its largest value at the bus's own rate, without interrupting.
pub fn start_counter() {
    write(local::TIMER, MASKED);
    write(local::DIVIDE, 0x0b);
    write(local::INITIAL_COUNT, u32::MAX);
}

/// The timer's count; it goes down.
#[must_use]
pub fn counter() -> u32 {
    read(local::CURRENT_COUNT)
}

/// Has the timer interrupt once at `vector` after `ticks` of the bus clock. Zero ticks stop it.
pub fn start_timer(vector: u8, ticks: u32) {
    write(local::TIMER, u32::from(vector));
    write(local::DIVIDE, 0x0b);
    write(local::INITIAL_COUNT, ticks);
}

fn read(register: usize) -> u32 {
    let base = LOCAL.load(Ordering::Relaxed);
    if base.is_null() {
        return 0;
    }
    // SAFETY: `init` mapped the page; the offsets are of registers that may be read.
    unsafe { base.add(register).cast::<u32>().read_volatile() }
}

fn write(register: usize, value: u32) {
    let base = LOCAL.load(Ordering::Relaxed);
    if !base.is_null() {
        // SAFETY: as in `read`; interrupts that are enabled here have handlers.
        unsafe { base.add(register).cast::<u32>().write_volatile(value) };
    }
}

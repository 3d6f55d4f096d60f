//! A 16550 serial port (National Semiconductor PC16550D data sheet).
//!
//! Output is polled: one look at the line status for every sixteen bytes, which is what the FIFO takes.
//! Input is for an interrupt handler to fetch with [`Serial::receive`]; bytes that are not fetched stay in
//! the FIFO, and the sender waits.

use crate::port;

/// Port offsets.
const DATA: u16 = 0;
const INTERRUPT_ENABLE: u16 = 1;
const FIFO_CONTROL: u16 = 2;
const LINE_CONTROL: u16 = 3;
const MODEM_CONTROL: u16 = 4;
const LINE_STATUS: u16 = 5;
const SCRATCH: u16 = 7;

/// Line status: a byte was received.
const DATA_READY: u8 = 0x01;
/// Line status: the transmitter takes another FIFO full.
const TRANSMITTER_EMPTY: u8 = 0x20;
/// Modem control: what is sent comes back and nothing comes in.
const LOOPBACK: u8 = 0x10;
/// Modem control: DTR, RTS and OUT2, without which no interrupt leaves the chip.
const READY: u8 = 0x0b;
/// How many bytes the transmitter's FIFO takes.
const FIFO_BYTES: usize = 16;

/// How often the line status is read before a transmitter counts as stuck; then bytes are dropped rather
/// than the kernel hanged. At a microsecond a look that is seconds.
const PATIENCE: u32 = 4_000_000;

/// The first serial port's base, on every PC-like machine.
pub const COM1: u16 = 0x3f8;
/// Its ISA interrupt.
pub const COM1_IRQ: u8 = 4;

/// A serial port at an I/O base.
#[derive(Debug)]
pub struct Serial {
    base: u16,
    stuck: bool,
}

/// What was in the receiver when the FIFO was switched on.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub struct Early(pub Option<u8>);

impl Serial {
    /// Finds the port at `base` and programs it: 115200 baud, eight bits, no parity, FIFOs on, interrupts off.
    /// `None` where no chip answers.
    ///
    /// A byte that arrived before is handed back: switching the FIFOs on empties the receiver, and a
    /// command that was typed (or piped) early must not lose its first letter. Nothing can arrive in
    /// between, because the chip receives nothing while in loopback.
    ///
    /// # Safety
    ///
    /// `base` must be the first of eight ports of a 16550 or of nothing at all, and no other `Serial` may
    /// drive it.
    #[must_use]
    pub unsafe fn new(base: u16) -> Option<(Self, Early)> {
        let mut serial = Self { base, stuck: false };
        serial.write(SCRATCH, 0x5a);
        if serial.read(SCRATCH) != 0x5a {
            return None;
        }
        serial.write(INTERRUPT_ENABLE, 0);
        serial.write(MODEM_CONTROL, READY | LOOPBACK);
        let early = (serial.read(LINE_STATUS) & DATA_READY != 0).then(|| serial.read(DATA));
        serial.write(LINE_CONTROL, 0x80);
        serial.write(DATA, 1);
        serial.write(INTERRUPT_ENABLE, 0);
        serial.write(LINE_CONTROL, 0x03);
        serial.write(FIFO_CONTROL, 0x81);
        serial.write(MODEM_CONTROL, READY);
        Some((serial, Early(early)))
    }

    /// Sends all of `bytes`.
    pub fn send(&mut self, bytes: &[u8]) {
        for chunk in bytes.chunks(FIFO_BYTES) {
            if !self.wait_for_room() {
                return;
            }
            // SAFETY: `new`'s caller vouched for the port; the data register takes bytes.
            unsafe { port::write_all8(self.base + DATA, chunk) };
        }
    }

    /// Waits until the transmitter is empty; false when it never is. After the first failure there is no more
    /// waiting, only one look each time.
    fn wait_for_room(&mut self) -> bool {
        let patience = if self.stuck { 1 } else { PATIENCE };
        for _ in 0..patience {
            if self.read(LINE_STATUS) & TRANSMITTER_EMPTY != 0 {
                self.stuck = false;
                return true;
            }
            core::hint::spin_loop();
        }
        self.stuck = true;
        false
    }

    /// Takes the next byte out of the receiver.
    pub fn receive(&mut self) -> Option<u8> {
        (self.read(LINE_STATUS) & DATA_READY != 0).then(|| self.read(DATA))
    }

    /// Has the chip interrupt when bytes arrive.
    pub fn listen(&mut self) {
        self.write(INTERRUPT_ENABLE, 0x01);
    }

    /// Has the chip keep quiet when bytes arrive; they wait in the FIFO.
    pub fn ignore(&mut self) {
        self.write(INTERRUPT_ENABLE, 0x00);
    }

    fn read(&mut self, register: u16) -> u8 {
        // SAFETY: `new`'s caller vouched for the eight ports; no register of the chip reaches memory.
        unsafe { port::read8(self.base + register) }
    }

    fn write(&mut self, register: u16, value: u8) {
        // SAFETY: as in `read`.
        unsafe { port::write8(self.base + register, value) };
    }
}

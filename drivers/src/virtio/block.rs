//! The block device (virtio 1.2, 5.2).
//!
//! The driver is this project's own, over the queue of the `virtio-drivers` crate. The crate's block driver allocates
//! for every request, notifies for every request, asserts on lengths, has sixteen requests at most, answers a flush that
//! the device does not know with success, and does not know discard.
//!
//! A [`Disk`] takes batches: requests that follow each other on the disk are joined into chains of several
//! buffers, as many chains as fit are queued, then the device is notified once. Completion is by interrupt; the handler
//! ([`Disk::on_interrupt`]) does the bookkeeping, and whoever waits looks at a counter of its own batch.
//!
//! Locks: [`Disk::state`](Disk), an [`IrqMutex`], innermost.

mod chain;

use alloc::boxed::Box;
use core::sync::atomic::{AtomicBool, AtomicUsize, Ordering, fence};

use heapless::Vec;
use virtio_drivers::queue::VirtQueue;
use virtio_drivers::transport::{DeviceStatus, Transport};

use self::chain::{Chain, Chains, Segment};
use super::hal::KernelHal;
use super::transport::{Bus, Delivery};
use super::{DeviceError, Place};
use crate::{IrqMutex, platform};

/// The unit of addresses, in bytes.
pub const SECTOR_SIZE: usize = 512;

/// The length of the queue, in descriptors. Every monitor offers at least as many.
const QUEUE_SIZE: usize = 128;

/// The most buffers that a chain has: 128 KiB in pages, so that a long read still is many requests at a time.
pub(super) const MAX_SEGMENTS: usize = 32;

/// The most requests at a time: each takes three descriptors or more.
const MAX_IN_FLIGHT: usize = QUEUE_SIZE / 3;

/// A chain's buffers with the header and the status.
const MAX_BUFFERS: usize = MAX_SEGMENTS + 2;

/// Feature bits.
mod feature {
    pub(super) const SIZE_MAX: u64 = 1 << 1;
    pub(super) const SEG_MAX: u64 = 1 << 2;
    pub(super) const READ_ONLY: u64 = 1 << 5;
    pub(super) const FLUSH: u64 = 1 << 9;
    pub(super) const DISCARD: u64 = 1 << 13;
    pub(super) const VERSION_1: u64 = 1 << 32;
    pub(super) const WANTED: u64 = SIZE_MAX | SEG_MAX | READ_ONLY | FLUSH | DISCARD | VERSION_1;
}

/// Offsets in the device's configuration.
mod config {
    pub(super) const CAPACITY: usize = 0;
    pub(super) const SIZE_MAX: usize = 8;
    pub(super) const SEG_MAX: usize = 12;
    pub(super) const MAX_DISCARD_SECTORS: usize = 36;
}

/// One request of a batch. Buffers are whole sectors, not empty.
#[derive(Debug)]
pub enum Request<'a> {
    /// Fills `buf` from `sector` on.
    Read {
        /// First sector.
        sector: u64,
        /// Where the bytes go.
        buf: &'a mut [u8],
    },
    /// Writes `data` from `sector` on.
    Write {
        /// First sector.
        sector: u64,
        /// The bytes.
        data: &'a [u8],
    },
}

/// What goes wrong with requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockError {
    /// The device failed one of them.
    Failed,
    /// A length that is no multiple of a sector, or nothing at all.
    Length,
    /// Beyond the end of the disk.
    OutOfRange,
    /// A write to a disk that only reads.
    ReadOnly,
    /// The device cannot do this.
    Unsupported,
    /// No memory.
    OutOfMemory,
}

/// What the device says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Size in sectors.
    pub sectors: u64,
    /// It refuses writes.
    pub read_only: bool,
    /// It knows how to flush its cache.
    pub flush: bool,
    /// The most sectors that one discard takes; 0 where it knows none.
    pub max_discard: u32,
    /// The most bytes in one buffer.
    pub(super) max_segment_bytes: usize,
    /// The most buffers in one request.
    pub(super) max_segments: usize,
}

/// What a request does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Operation {
    Read = 0,
    Write = 1,
    Flush = 4,
    Identify = 8,
    Discard = 11,
}

impl Operation {
    /// Whether the device writes into the buffers.
    const fn fills(self) -> bool {
        matches!(self, Self::Read | Self::Identify)
    }
}

/// A disk.
pub struct Disk {
    state: IrqMutex<State>,
    info: Info,
    delivery: Delivery,
}

struct State {
    queue: VirtQueue<KernelHal, QUEUE_SIZE>,
    bus: Bus,
    slots: Box<[Slot]>,
    free: Vec<u8, MAX_IN_FLIGHT>,
    /// Which slot a chain's first descriptor belongs to.
    slot_of: [u8; QUEUE_SIZE],
    health: Health,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Health {
    Good,
    /// The device broke the protocol and was reset.
    Broken,
}

/// Whether a chain was queued.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Added {
    Yes,
    NoRoom,
}

/// A request in flight. The device reads the header and writes the status, so slots stay where they are.
#[repr(C, align(32))]
struct Slot {
    header: [u8; 16],
    status: [u8; 1],
    operation: Operation,
    segments: Vec<Segment, MAX_SEGMENTS>,
    batch: *const Batch,
}

// SAFETY: the pointer is to a batch that outlives its requests: `Disk::run` returns when none is left.
unsafe impl Send for Slot {}

/// What belongs to one call.
struct Batch {
    in_flight: AtomicUsize,
    failed: AtomicBool,
    unsupported: AtomicBool,
}

const UNUSED: u8 = u8::MAX;
/// A status that no device writes.
const STATUS_PENDING: u8 = 0xff;

impl Disk {
    /// Starts the device at `place`, its interrupt going to `vector`, whose handler calls [`Self::on_interrupt`].
    ///
    /// # Errors
    ///
    /// See [`DeviceError`].
    pub fn start(place: Place, vector: u8) -> Result<Self, DeviceError> {
        let (mut bus, delivery) = Bus::open(place, vector)?;
        bus.set_status(DeviceStatus::empty());
        bus.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER);
        let features = bus.read_device_features() & feature::WANTED;
        if features & feature::VERSION_1 == 0 {
            return Err(DeviceError::Legacy);
        }
        bus.write_driver_features(features);
        bus.set_status(DeviceStatus::ACKNOWLEDGE | DeviceStatus::DRIVER | DeviceStatus::FEATURES_OK);
        if !bus.get_status().contains(DeviceStatus::FEATURES_OK) {
            return Err(DeviceError::Refused);
        }
        let info = Info::read(&bus, features)?;
        if bus.max_queue_size(0) < QUEUE_SIZE as u32 {
            return Err(DeviceError::ShortQueue);
        }
        let queue = VirtQueue::new(&mut bus, 0, false, false).map_err(|_| DeviceError::OutOfMemory)?;
        bus.finish_init();

        let mut slots = alloc::vec::Vec::new();
        slots.try_reserve_exact(MAX_IN_FLIGHT).map_err(|_| DeviceError::OutOfMemory)?;
        slots.resize_with(MAX_IN_FLIGHT, Slot::empty);
        let state = State {
            queue,
            bus,
            slots: slots.into_boxed_slice(),
            free: (0..MAX_IN_FLIGHT as u8).collect(),
            slot_of: [UNUSED; QUEUE_SIZE],
            health: Health::Good,
        };
        Ok(Self { state: IrqMutex::new(state), info, delivery })
    }

    /// Size and abilities.
    #[must_use]
    pub const fn info(&self) -> Info {
        self.info
    }

    /// The interrupt handler.
    pub fn on_interrupt(&self) {
        let mut state = self.state.lock();
        if self.delivery == Delivery::Line {
            state.bus.ack_interrupt();
        }
        state.reap();
    }

    /// Carries out all requests, as many at a time as the queue takes, and returns when the last one is done.
    ///
    /// # Errors
    ///
    /// [`BlockError::Failed`] if the device failed any of them; [`BlockError::Length`], [`BlockError::OutOfRange`] or
    /// [`BlockError::ReadOnly`] at the first request that is wrong in itself, after those before it are done.
    pub fn transfer<'a>(&self, requests: impl Iterator<Item = Request<'a>>) -> Result<(), BlockError> {
        let mut chains = Chains::new(requests, self.info);
        let result = self.run(&mut || chains.next_chain());
        chains.error().map_or(result, Err)
    }

    /// Makes every write that is done durable. Without [`Info::flush`] there is nothing that could be asked of the
    /// device, and nothing is promised.
    ///
    /// # Errors
    ///
    /// [`BlockError::Failed`].
    pub fn flush(&self) -> Result<(), BlockError> {
        if !self.info.flush {
            return Ok(());
        }
        self.run_one(Chain::new(Operation::Flush, 0))
    }

    /// Tells the device that `sectors` from `sector` on hold nothing of interest.
    ///
    /// # Errors
    ///
    /// [`BlockError::Unsupported`], [`BlockError::OutOfRange`], [`BlockError::ReadOnly`], [`BlockError::Failed`].
    pub fn discard(&self, sector: u64, sectors: u64) -> Result<(), BlockError> {
        if self.info.max_discard == 0 {
            return Err(BlockError::Unsupported);
        }
        if self.info.read_only {
            return Err(BlockError::ReadOnly);
        }
        let end = sector.checked_add(sectors).filter(|&end| end <= self.info.sectors).ok_or(BlockError::OutOfRange)?;
        let mut range = Box::new([0_u8; 16]);
        let mut at = sector;
        while at < end {
            let count = (end - at).min(self.info.max_discard.into());
            range[..8].copy_from_slice(&at.to_le_bytes());
            range[8..12].copy_from_slice(&(count as u32).to_le_bytes());
            let mut chain = Chain::new(Operation::Discard, 0);
            chain.push_whole(range.as_mut_ptr(), range.len());
            self.run_one(chain)?;
            at += count;
        }
        Ok(())
    }

    /// The name that the machine's owner gave the disk (`serial=` on QEMU's command line), at most twenty bytes.
    ///
    /// # Errors
    ///
    /// [`BlockError::Unsupported`] or [`BlockError::Failed`].
    pub fn identify(&self) -> Result<Vec<u8, 20>, BlockError> {
        let mut name = Box::new([0_u8; 20]);
        let mut chain = Chain::new(Operation::Identify, 0);
        chain.push_whole(name.as_mut_ptr(), name.len());
        self.run_one(chain)?;
        Ok(name.iter().copied().take_while(|&byte| byte != 0).collect())
    }

    fn run_one(&self, chain: Chain) -> Result<(), BlockError> {
        let mut chain = Some(chain);
        self.run(&mut || chain.take())
    }

    /// Queues chains until there are no more and returns when all are done. The buffers behind them belong to the
    /// caller's caller, who is borrowed from until then.
    fn run(&self, next: &mut dyn FnMut() -> Option<Chain>) -> Result<(), BlockError> {
        let Some(platform) = platform::get() else { return Err(BlockError::Failed) };
        let batch = Batch {
            in_flight: AtomicUsize::new(0),
            failed: AtomicBool::new(false),
            unsupported: AtomicBool::new(false),
        };
        let mut chain = next();
        loop {
            chain = self.submit(chain, next, &batch);
            let before = batch.in_flight.load(Ordering::Acquire);
            if chain.is_none() && before == 0 {
                break;
            }
            // With more to come, half the queue is waited for, so that the device is notified for many at a time.
            let until = if chain.is_some() { before / 2 } else { 0 };
            platform.wait(&|| {
                let mut state = self.state.lock();
                state.reap();
                match before {
                    // Others fill the queue.
                    0 => state.has_room(),
                    _ => batch.in_flight.load(Ordering::Acquire) <= until,
                }
            });
        }
        match (batch.unsupported.into_inner(), batch.failed.into_inner()) {
            (_, true) => Err(BlockError::Failed),
            (true, false) => Err(BlockError::Unsupported),
            (false, false) => Ok(()),
        }
    }

    /// Queues as many chains as fit, notifies once, and returns the first that did not fit.
    fn submit(
        &self,
        mut chain: Option<Chain>,
        next: &mut dyn FnMut() -> Option<Chain>,
        batch: &Batch,
    ) -> Option<Chain> {
        let mut state = self.state.lock();
        state.reap();
        let mut added = false;
        while let Some(ready) = &chain
            && state.add(ready, batch) == Added::Yes
        {
            added = true;
            chain = next();
        }
        if added {
            // The device looks at the ring once more after it has asked for notifications; so the ring must be seen
            // before its wish is read. The queue's own stores and loads do not order the two.
            fence(Ordering::SeqCst);
            if state.queue.should_notify() {
                state.bus.notify(0);
            }
        }
        chain
    }
}

impl Info {
    fn read(bus: &Bus, features: u64) -> Result<Self, DeviceError> {
        let word = |offset| bus.read_config_space::<u32>(offset).map_err(|_| DeviceError::Malformed);
        let has = |feature| features & feature != 0;
        let capacity = u64::from(word(config::CAPACITY)?) | u64::from(word(config::CAPACITY + 4)?) << 32;
        let optional = |feature, offset| if has(feature) { word(offset).map(Some) } else { Ok(None) };
        let size_max = optional(feature::SIZE_MAX, config::SIZE_MAX)?.unwrap_or(u32::MAX);
        // A device that does not say takes one buffer a request.
        let seg_max = optional(feature::SEG_MAX, config::SEG_MAX)?.unwrap_or(1);
        Ok(Self {
            sectors: capacity,
            read_only: has(feature::READ_ONLY),
            flush: has(feature::FLUSH),
            max_discard: optional(feature::DISCARD, config::MAX_DISCARD_SECTORS)?.unwrap_or(0),
            max_segment_bytes: (size_max as usize & !(SECTOR_SIZE - 1)).max(SECTOR_SIZE),
            max_segments: (seg_max as usize).clamp(1, MAX_SEGMENTS),
        })
    }
}

impl Slot {
    fn empty() -> Self {
        Self {
            header: [0; 16],
            status: [STATUS_PENDING],
            operation: Operation::Flush,
            segments: Vec::new(),
            batch: core::ptr::null(),
        }
    }
}

impl State {
    /// Queues a chain if there is room.
    fn add(&mut self, chain: &Chain, batch: &Batch) -> Added {
        if self.health == Health::Broken {
            batch.failed.store(true, Ordering::Relaxed);
            return Added::Yes;
        }
        if self.queue.available_desc() < chain.segments.len() + 2 {
            return Added::NoRoom;
        }
        let Some(index) = self.free.pop() else { return Added::NoRoom };
        let slot = &mut self.slots[usize::from(index)];
        slot.header[..4].copy_from_slice(&(chain.operation as u32).to_le_bytes());
        slot.header[8..].copy_from_slice(&chain.sector.to_le_bytes());
        slot.status = [STATUS_PENDING];
        slot.operation = chain.operation;
        slot.batch = batch;
        slot.segments.clone_from(&chain.segments);
        batch.in_flight.fetch_add(1, Ordering::AcqRel);
        // SAFETY: the header and the status live in the slot, which stays; the segments are borrowed from the batch's
        // caller, who waits until `reap` has taken the chain off the queue again.
        let added = unsafe { slot.with_buffers(|inputs, outputs| self.queue.add(inputs, outputs)) };
        match added {
            Ok(token) => self.slot_of[usize::from(token)] = index,
            // Room was looked for above, so this does not happen; if it does, the request has failed.
            Err(_) => self.finish(index, Err(BlockError::Failed)),
        }
        Added::Yes
    }

    /// Whether a chain of any length fits.
    fn has_room(&self) -> bool {
        !self.free.is_empty() && self.queue.available_desc() >= MAX_BUFFERS
    }

    /// Takes everything that is done off the queue.
    fn reap(&mut self) {
        while self.health == Health::Good
            && let Some(token) = self.queue.peek_used()
        {
            let index = self.slot_of.get(usize::from(token)).copied().unwrap_or(UNUSED);
            let Some(slot) = self.slots.get_mut(usize::from(index)) else {
                self.give_up();
                return;
            };
            // SAFETY: these are the buffers that were added with this token.
            let popped = unsafe { slot.with_buffers(|inputs, outputs| self.queue.pop_used(token, inputs, outputs)) };
            self.slot_of[usize::from(token)] = UNUSED;
            // SAFETY: the device is done with the slot; the status was written by it, not by compiled code.
            let status = unsafe { (&raw const slot.status[0]).read_volatile() };
            let result = match (popped, status) {
                (Ok(_), 0) => Ok(()),
                (Ok(_), 2) => Err(BlockError::Unsupported),
                _ => Err(BlockError::Failed),
            };
            self.finish(index, result);
        }
    }

    /// Frees a slot and tells its batch.
    fn finish(&mut self, index: u8, result: Result<(), BlockError>) {
        let slot = &mut self.slots[usize::from(index)];
        slot.segments.clear();
        // SAFETY: the batch is on the stack of a call that waits until its counter is 0; this is the last use of it.
        let batch = unsafe { &*core::mem::replace(&mut slot.batch, core::ptr::null()) };
        match result {
            Ok(()) => {}
            Err(BlockError::Unsupported) => batch.unsupported.store(true, Ordering::Relaxed),
            Err(_) => batch.failed.store(true, Ordering::Relaxed),
        }
        // The list has a place for every slot.
        let _ = self.free.push(index);
        batch.in_flight.fetch_sub(1, Ordering::AcqRel);
    }

    /// Stops a device that completes what was never asked: it cannot be trusted with memory. Everything in flight fails.
    #[cold]
    fn give_up(&mut self) {
        log::error!("a virtio disk broke the protocol and is switched off");
        self.bus.set_status(DeviceStatus::empty());
        self.health = Health::Broken;
        for index in 0..self.slots.len() {
            if !self.slots[index].batch.is_null() {
                self.finish(index as u8, Err(BlockError::Failed));
            }
        }
    }
}

impl Slot {
    /// Calls `use_buffers` with what the device reads and what it writes.
    ///
    /// # Safety
    ///
    /// The segments must be valid, and the device may be using them only if `use_buffers` does not touch the bytes.
    unsafe fn with_buffers<R>(
        &mut self,
        use_buffers: impl for<'b> FnOnce(&'b [&'b [u8]], &'b mut [&'b mut [u8]]) -> R,
    ) -> R {
        let mut inputs: [&[u8]; MAX_BUFFERS] = [&[]; MAX_BUFFERS];
        let mut outputs: [&mut [u8]; MAX_BUFFERS] = core::array::from_fn(|_| &mut [][..]);
        inputs[0] = &self.header;
        let count = self.segments.len();
        if self.operation.fills() {
            for (output, segment) in outputs.iter_mut().zip(&self.segments) {
                // SAFETY: the caller's duty; the segment came from a `&mut [u8]`.
                *output = unsafe { core::slice::from_raw_parts_mut(segment.start, segment.length) };
            }
            outputs[count] = &mut self.status;
            use_buffers(&inputs[..1], &mut outputs[..=count])
        } else {
            for (input, segment) in inputs[1..].iter_mut().zip(&self.segments) {
                // SAFETY: the caller's duty.
                *input = unsafe { core::slice::from_raw_parts(segment.start, segment.length) };
            }
            outputs[0] = &mut self.status;
            use_buffers(&inputs[..=count], &mut outputs[..1])
        }
    }
}

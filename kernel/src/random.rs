//! The kernel's random numbers.

use drivers::IrqMutex;
use drivers::random::{Random, Source};
use drivers::virtio::{Candidate, Kind, rng};

use crate::memory::cpu::{self, Feature};
use crate::traps::irq;

static RANDOM: IrqMutex<Random> = IrqMutex::new(Random::new());

/// Seeds the generator: from the processor, else from an entropy device, else from timing, with a warning.
pub(crate) fn init(devices: &[Candidate]) -> Source {
    let mut random = RANDOM.lock();
    random.seed_by_timing();
    if cpu::has(Feature::RdRand) && random.seed_by_processor() {
        return Source::Processor;
    }
    drop(random);
    let seed = devices.iter().find(|device| device.kind == Kind::Entropy).and_then(|device| {
        let vector = irq::register(|_| {}, 0)?;
        rng::read_seed(device.place, vector)
            .inspect_err(|error| log::warn!("entropy device at {}: {error}", device.place))
            .ok()
    });
    let mut random = RANDOM.lock();
    match seed {
        Some(seed) => random.seed(&seed, Source::Device),
        None => log::warn!("random numbers are guessable: no rdrand, no virtio entropy device"),
    }
    random.source()
}

/// So many random bytes.
pub(crate) fn bytes<const LEN: usize>() -> [u8; LEN] {
    let mut bytes = [0; LEN];
    fill(&mut bytes);
    bytes
}

/// Fills `buffer` with random bytes.
pub(crate) fn fill(buffer: &mut [u8]) {
    // In pieces, so that interrupts are not kept waiting.
    for chunk in buffer.chunks_mut(256) {
        RANDOM.lock().fill(chunk);
    }
}

//! The bytes between the writers and the readers of a pipe or FIFO (`pipe(7)`, `fifo(7)`).
//!
//! A [`Pipe`] is the buffer; a [`PipeEnd`] is one open file's share of it. Waiting goes through [`Wait`], with no lock held.

use alloc::collections::VecDeque;
use alloc::sync::Arc;

use base::sync::Mutex;

use crate::flags::{OpenFlags, PollEvents};
use crate::wait::Wait;
use crate::{Errno, Result};

/// How many bytes a pipe holds.
const CAPACITY: usize = 65_536;
/// Writes of up to this many bytes are not mixed with others (`PIPE_BUF`).
const ATOMIC: usize = 4096;

#[derive(Default)]
struct State {
    bytes: VecDeque<u8>,
    readers: usize,
    writers: usize,
    /// How often a reader or writer came, so that one who waits for it does not miss a short visit.
    readers_seen: u64,
    writers_seen: u64,
}

/// The buffer between the ends.
#[derive(Default)]
pub(crate) struct Pipe {
    state: Mutex<State>,
}

/// One open end, or both at once (`O_RDWR` on a FIFO).
pub(crate) struct PipeEnd {
    pipe: Arc<Pipe>,
    wait: Arc<dyn Wait>,
    reads: bool,
    writes: bool,
}

impl PipeEnd {
    /// One end, open from now on.
    pub(crate) fn new(pipe: Arc<Pipe>, wait: Arc<dyn Wait>, flags: OpenFlags) -> Self {
        let end = Self { pipe, wait, reads: flags.reads(), writes: flags.writes() };
        let mut state = end.pipe.state.lock();
        if end.reads {
            state.readers += 1;
            state.readers_seen += 1;
        }
        if end.writes {
            state.writers += 1;
            state.writers_seen += 1;
        }
        drop(state);
        end.wait.wake();
        end
    }

    /// Opens a FIFO: waits for the other side, if the flags say so.
    ///
    /// `ENXIO` to write without waiting and without readers; `EINTR`, `EAGAIN` of the wait.
    pub(crate) fn open(pipe: Arc<Pipe>, wait: Arc<dyn Wait>, flags: OpenFlags) -> Result<Self> {
        let waits = !flags.contains(OpenFlags::O_NONBLOCK);
        if flags.writes() && !flags.reads() && !waits && pipe.state.lock().readers == 0 {
            return Err(Errno::ENXIO.into());
        }
        let end = Self::new(pipe, wait, flags);
        if waits && end.reads != end.writes {
            let (peers, seen) = end.peers();
            if peers == 0 {
                end.wait.wait(&|| {
                    let (peers_now, seen_now) = end.peers();
                    peers_now != 0 || seen_now != seen
                })?;
            }
        }
        Ok(end)
    }

    /// How many are at the other side, and how many were in all.
    fn peers(&self) -> (usize, u64) {
        let state = self.pipe.state.lock();
        if self.reads { (state.writers, state.writers_seen) } else { (state.readers, state.readers_seen) }
    }

    /// Reads what there is, at least one byte unless the writers are gone.
    pub(crate) fn read(&self, buf: &mut [u8], flags: OpenFlags) -> Result<usize> {
        if buf.is_empty() {
            return Ok(0);
        }
        loop {
            let mut state = self.pipe.state.lock();
            let count = buf.len().min(state.bytes.len());
            if count > 0 {
                let (front, back) = state.bytes.as_slices();
                let from_front = count.min(front.len());
                buf[..from_front].copy_from_slice(&front[..from_front]);
                buf[from_front..count].copy_from_slice(&back[..count - from_front]);
                state.bytes.drain(..count);
                drop(state);
                self.wait.wake();
                return Ok(count);
            }
            if state.writers == 0 {
                return Ok(0);
            }
            drop(state);
            if flags.contains(OpenFlags::O_NONBLOCK) {
                return Err(Errno::EAGAIN.into());
            }
            self.wait.wait(&|| {
                let state = self.pipe.state.lock();
                !state.bytes.is_empty() || state.writers == 0
            })?;
        }
    }

    /// Writes; all of it unless it may not wait. `EPIPE` without readers.
    pub(crate) fn write(&self, data: &[u8], flags: OpenFlags) -> Result<usize> {
        let mut written = 0;
        // What is small goes in at once or not at all.
        let at_least = if data.len() <= ATOMIC { data.len() } else { 1 };
        loop {
            let mut state = self.pipe.state.lock();
            if state.readers == 0 {
                return if written > 0 { Ok(written) } else { Err(Errno::EPIPE.into()) };
            }
            let room = CAPACITY - state.bytes.len();
            if room >= at_least {
                let count = room.min(data.len() - written);
                state.bytes.try_reserve(count).map_err(|_| Errno::ENOMEM)?;
                state.bytes.extend(&data[written..written + count]);
                written += count;
                drop(state);
                self.wait.wake();
                if written == data.len() {
                    return Ok(written);
                }
            } else {
                drop(state);
            }
            if flags.contains(OpenFlags::O_NONBLOCK) {
                return if written > 0 { Ok(written) } else { Err(Errno::EAGAIN.into()) };
            }
            let waited = self.wait.wait(&|| {
                let state = self.pipe.state.lock();
                CAPACITY - state.bytes.len() >= at_least || state.readers == 0
            });
            match waited {
                Err(_) if written > 0 => return Ok(written),
                other => other?,
            }
        }
    }

    /// How many bytes can be read (`FIONREAD`).
    pub(crate) fn available(&self) -> usize {
        self.pipe.state.lock().bytes.len()
    }

    pub(crate) fn poll(&self) -> PollEvents {
        let state = self.pipe.state.lock();
        let mut events = PollEvents::empty();
        if self.reads {
            events.set(PollEvents::POLLIN | PollEvents::POLLRDNORM, !state.bytes.is_empty());
            events.set(PollEvents::POLLHUP, state.writers == 0 && state.writers_seen > 0);
        }
        if self.writes {
            events.set(PollEvents::POLLOUT | PollEvents::POLLWRNORM, CAPACITY - state.bytes.len() >= ATOMIC);
            events.set(PollEvents::POLLERR, state.readers == 0);
        }
        events
    }
}

impl Drop for PipeEnd {
    fn drop(&mut self) {
        let mut state = self.pipe.state.lock();
        state.readers -= usize::from(self.reads);
        state.writers -= usize::from(self.writes);
        drop(state);
        self.wait.wake();
    }
}

//! A map with room that is held for what is about to be entered, so that an operation can see to its memory before it changes anything.

use core::hash::Hash;

use base::sync::{Mutex, MutexGuard};
use hashbrown::HashMap;
use vfs::{Errno, Result};

/// A map behind a leaf lock.
pub(crate) struct RoomMap<K, V>(Mutex<Held<K, V>>);

/// The map, locked.
pub(crate) struct Held<K, V> {
    pub(crate) map: HashMap<K, V>,
    /// How many entries have room that is not theirs yet.
    promised: usize,
}

/// Room for one entry.
pub(crate) struct Room<'a, K, V>(&'a RoomMap<K, V>);

impl<K, V> Default for RoomMap<K, V> {
    fn default() -> Self {
        Self(Mutex::new(Held { map: HashMap::new(), promised: 0 }))
    }
}

impl<K: Eq + Hash, V> RoomMap<K, V> {
    pub(crate) fn lock(&self) -> MutexGuard<'_, Held<K, V>> {
        self.0.lock()
    }

    /// Holds room for one entry.
    ///
    /// # Errors
    /// `ENOMEM`.
    pub(crate) fn reserve(&self) -> Result<Room<'_, K, V>> {
        let mut held = self.lock();
        held.make_room(None)?;
        held.promised += 1;
        Ok(Room(self))
    }
}

impl<K: Eq + Hash, V> Held<K, V> {
    /// Sees to it that one more entry fits beside those that were promised room; `room` is one of these.
    ///
    /// # Errors
    /// `ENOMEM`: never, with `room`.
    pub(crate) fn make_room(&mut self, room: Option<&Room<'_, K, V>>) -> Result<()> {
        match room {
            Some(_) => Ok(()),
            None => self.map.try_reserve(self.promised + 1).map_err(|_| Errno::ENOMEM.into()),
        }
    }
}

impl<K, V> Drop for Room<'_, K, V> {
    fn drop(&mut self) {
        self.0.0.lock().promised -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_is_held_is_not_taken_by_others() {
        let map = RoomMap::default();
        let first = map.reserve().unwrap();
        let second = map.reserve().unwrap();
        for other in 0..1000 {
            let mut held = map.lock();
            held.make_room(None).unwrap();
            held.map.insert(other, ());
            assert!(held.map.capacity() - held.map.len() >= 2);
        }
        let capacity = map.lock().map.capacity();
        let mut held = map.lock();
        held.make_room(Some(&first)).unwrap();
        held.map.insert(1000, ());
        assert_eq!(held.map.capacity(), capacity);
        drop(held);
        drop((first, second));
        assert_eq!(map.lock().promised, 0);
    }
}

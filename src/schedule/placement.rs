//! What lies where: things that are not in use at the same time share their place, the largest chosen first.

use crate::order::ordered;

/// How large something is, and from when to when it is in use, both included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Life {
    pub size: usize,
    pub first: usize,
    pub last: usize,
}

impl Life {
    fn meets(&self, other: &Life) -> bool {
        self.first <= other.last && other.first <= self.last
    }
}

/// The largest first, of equal ones the earliest.
fn by_size(lives: &[Life]) -> Vec<usize> {
    ordered(lives.len(), &|a, b| lives[b].size.cmp(&lives[a].size).then(lives[a].first.cmp(&lives[b].first)))
}

/// The address of each in one memory, as low as those that live at the same time allow, and how large that memory is.
pub(crate) fn addresses(lives: &[Life]) -> (Vec<usize>, usize) {
    let mut found = vec![0; lives.len()];
    let mut memory = 0;
    // In the order of their addresses.
    let mut placed: Vec<usize> = Vec::new();
    for thing in by_size(lives) {
        let life = lives[thing];
        let mut address = 0;
        // The first gap that is wide enough.
        for &other in placed.iter().filter(|&&other| lives[other].meets(&life)) {
            if found[other] < address + life.size {
                address = address.max(found[other] + lives[other].size);
            }
        }
        found[thing] = address;
        memory = memory.max(address + life.size);
        placed.insert(placed.partition_point(|&other| found[other] <= address), thing);
    }
    (found, memory)
}

/// The buffer of each, and how large each buffer is.
#[cfg(any(test, feature = "gpu"))]
pub(crate) fn buffers(lives: &[Life]) -> (Vec<usize>, Vec<usize>) {
    let mut found = vec![0; lives.len()];
    let mut held: Vec<Vec<usize>> = Vec::new();
    for thing in by_size(lives) {
        let is_free = |others: &Vec<usize>| others.iter().all(|&other| !lives[other].meets(&lives[thing]));
        let buffer = held.iter().position(is_free).unwrap_or_else(|| {
            held.push(Vec::new());
            held.len() - 1
        });
        held[buffer].push(thing);
        found[thing] = buffer;
    }
    (found, held.iter().map(|things| lives[things[0]].size).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lives of pseudorandom sizes and times, some of which are never over.
    fn lives() -> Vec<Life> {
        let number = |i: usize, seed: usize| (i * 2_654_435_761 + seed * 40_503) % 2_147_483_647;
        let life = |i: usize| {
            let first = number(i, 1) % 40;
            let last = if i.is_multiple_of(17) { usize::MAX } else { first + number(i, 2) % 6 };
            Life { size: number(i, 3) % 1000 + 1, first, last }
        };
        (0..120).map(life).collect()
    }

    #[test]
    fn what_lives_at_the_same_time_lies_apart() {
        let lives = lives();
        let (addresses, memory) = addresses(&lives);
        let (buffers, sizes) = buffers(&lives);
        for (i, a) in lives.iter().enumerate() {
            assert!(addresses[i] + a.size <= memory);
            assert!(a.size <= sizes[buffers[i]]);
            for (j, b) in lives.iter().enumerate().skip(i + 1).filter(|(_, b)| a.meets(b)) {
                assert!(addresses[i] + a.size <= addresses[j] || addresses[j] + b.size <= addresses[i], "{a:?}, {b:?}");
                assert_ne!(buffers[i], buffers[j], "{a:?}, {b:?}");
            }
        }
        // Far less than one beside the other.
        let all: usize = lives.iter().map(|life| life.size).sum();
        assert!(memory < all / 2 && sizes.iter().sum::<usize>() < all / 2, "{memory} and {sizes:?} of {all}");
    }

    #[test]
    fn a_chain_of_values_takes_two_places() {
        let lives: Vec<Life> = (0..9).map(|time| Life { size: 8, first: time, last: time + 1 }).collect();
        assert_eq!(addresses(&lives).1, 16);
        assert_eq!(buffers(&lives).1, [8, 8]);
    }
}

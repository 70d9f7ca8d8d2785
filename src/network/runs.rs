//! Many runs of a network for one answer: in batches within a memory, with progress, and with a way to stop them.

use super::Network;
use crate::{Error, ErrorKind, Result};

/// How many images run at once, at most: more are no faster on a CPU, and a wish to stop would wait for longer.
const BATCH: usize = 8;

/// Memory for the values of one batch, in numbers: 256 MiB.
const BATCH_VALUES: usize = 64 << 20;

impl Network {
    /// How many images to run at once.
    pub(crate) fn images_at_once(&self) -> usize {
        images_at_once(self.values_of_one_image())
    }
}

/// How many images that take so many numbers each.
fn images_at_once(values_of_one_image: usize) -> usize {
    (BATCH_VALUES / values_of_one_image.max(1)).clamp(1, BATCH)
}

/// Who waits for a result: hears of progress and may stop it.
#[derive(Clone, Copy)]
pub(crate) struct Watch<'a> {
    progress: &'a dyn Fn(f32),
    stopped: &'a dyn Fn() -> bool,
    /// The part of the whole that this is, as fractions.
    from: f32,
    to: f32,
}

impl<'a> Watch<'a> {
    /// Over the whole.
    pub fn new(progress: &'a dyn Fn(f32), stopped: &'a dyn Fn() -> bool) -> Self {
        Watch { progress, stopped, from: 0., to: 1. }
    }

    /// The watch over one of several equal parts.
    pub fn part(self, index: usize, count: usize) -> Self {
        self.parts(index..index + 1, count)
    }

    /// The watch over some of several equal parts.
    pub fn parts(self, parts: std::ops::Range<usize>, count: usize) -> Self {
        let at = |index: usize| self.from + (self.to - self.from) * index as f32 / count as f32;
        Watch { from: at(parts.start), to: at(parts.end), ..self }
    }

    /// Reports a fraction of this part.
    ///
    /// # Errors
    /// `AbortError` if the caller stopped it.
    pub fn at(self, fraction: f32) -> Result<()> {
        check_running(self.stopped)?;
        (self.progress)(self.from + (self.to - self.from) * fraction);
        Ok(())
    }

    /// The same between two runs of the network, where the caller's wish to stop may arrive.
    pub async fn pause_at(self, fraction: f32) -> Result<()> {
        // A message reaches a browser's worker only between two turns of its event loop.
        crate::host::next_turn().await;
        self.at(fraction)
    }
}

/// # Errors
/// `AbortError` if the caller stopped it.
pub(crate) fn check_running(stopped: &dyn Fn() -> bool) -> Result<()> {
    if stopped() { Err(Error::new(ErrorKind::Abort, "stopped by the caller")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_as_large_as_its_memory_allows() {
        assert_eq!(images_at_once(1000), BATCH);
        assert_eq!(images_at_once(2 * 2 * 224 * 224 * 64), 5);
        assert_eq!(images_at_once(BATCH_VALUES / 2), 2);
        // One at least, whatever it takes.
        assert_eq!(images_at_once(10 * BATCH_VALUES), 1);
        for values in [1, 12_345, 6_422_528, 50_000_000, BATCH_VALUES] {
            assert!(images_at_once(values) * values <= BATCH_VALUES, "{values}");
        }
    }
}

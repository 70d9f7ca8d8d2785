//! Maxima, means and sums over windows.

use super::simd::F32x4;
use super::{Planes, reach};
use crate::formula::{PoolKind, Window};

/// The maximum or the sum over each window of each channel, times a factor.
pub struct Pool {
    input: Planes,
    output: Planes,
    window: Window,
    kind: PoolKind,
    /// One for each output pixel, or one for all.
    factors: Vec<f32>,
    pub(super) reach: usize,
}

impl Pool {
    /// `factors` holds one number for each output pixel, or one for all.
    pub fn new([input, output]: [Planes; 2], window: Window, kind: PoolKind, factors: Vec<f32>) -> Pool {
        assert!([1, output.height * output.width].contains(&factors.len()), "one factor, or one a pixel");
        assert!(input.vectors() == output.vectors(), "one output for each channel");
        Pool { input, output, window, kind, factors, reach: reach(&[input, output]) }
    }

    pub fn run(&self, memory: &mut [f32]) {
        assert!(self.reach <= memory.len(), "the memory was made for this kernel");
        let Window { kernel, dilation, .. } = self.window;
        let size = [self.input.height as isize, self.input.width as isize];
        // The places of a window that lie in the image.
        let inside = |i: usize, corner: isize| {
            let steps = |distance: isize| (distance.max(0) as usize).div_ceil(dilation[i]).min(kernel[i]) as isize;
            let first = steps(-corner);
            (first, steps(size[i] - corner).max(first))
        };
        let memory = memory.as_mut_ptr();
        for pixel in 0..self.output.height * self.output.width {
            let (y, x) = (pixel / self.output.width, pixel % self.output.width);
            let corner = self.window.corner(y, x);
            let (rows, columns) = (inside(0, corner.0), inside(1, corner.1));
            let (first_y, first_x) =
                (corner.0 + rows.0 * dilation[0] as isize, corner.1 + columns.0 * dilation[1] as isize);
            let count = [(rows.1 - rows.0) as usize, (columns.1 - columns.0) as usize];
            let empty = count.contains(&0);
            let from = if empty { self.input.start } else { self.input.at(first_y, first_x) };
            let factor = self.factors[if self.factors.len() == 1 { 0 } else { pixel }];
            // SAFETY: the counted places lie in the image, and `reach` covers both planes.
            unsafe {
                let (from, to) = (memory.add(from).cast_const(), memory.add(self.output.at(y as isize, x as isize)));
                let steps = [dilation[0] * self.input.row, dilation[1] * self.input.pixel];
                let vectors = self.input.vectors();
                match self.kind {
                    PoolKind::Max => pool::<true>(from, to, vectors, if empty { [0, 0] } else { count }, steps, factor),
                    PoolKind::Sum => {
                        pool::<false>(from, to, vectors, if empty { [0, 0] } else { count }, steps, factor)
                    }
                }
            }
        }
    }
}

/// One pixel of output, all channels.
///
/// # Safety
/// `count` places with `steps` between them, and `vectors` vectors at each and at `to`, must lie in memory.
#[inline(never)]
unsafe fn pool<const MAX: bool>(
    from: *const f32,
    to: *mut f32,
    vectors: usize,
    count: [usize; 2],
    steps: [usize; 2],
    factor: f32,
) {
    let factor = F32x4::splat(factor);
    for vector in 0..vectors {
        // SAFETY: as the caller promises.
        unsafe {
            let mut out = F32x4::splat(if MAX { f32::NEG_INFINITY } else { 0. });
            let mut row = from.add(4 * vector);
            for _ in 0..count[0] {
                let mut place = row;
                for _ in 0..count[1] {
                    let value = F32x4::load(place);
                    out = if MAX { value.max(out) } else { out + value };
                    place = place.wrapping_add(steps[1]);
                }
                row = row.wrapping_add(steps[0]);
            }
            (out * factor).store(to.add(4 * vector));
        }
    }
}

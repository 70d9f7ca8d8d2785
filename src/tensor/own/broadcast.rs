//! Functions of two numbers, whose operands repeat along axes of size one.

use std::rc::Rc;

use super::Tensor;

/// The axes of a result, joined where both operands go on or repeat alike: for each its size and, for either operand,
/// the distance from a number to the next (0 where it repeats).
struct Walk {
    axes: Vec<(usize, [usize; 2])>,
}

impl Walk {
    fn new(shapes: [&[usize]; 2]) -> (Vec<usize>, Walk) {
        let shape: Vec<usize> = shapes[0].iter().zip(shapes[1]).map(|(&a, &b)| if a == 1 { b } else { a }).collect();
        let mut axes: Vec<(usize, [usize; 2])> = Vec::new();
        let mut distance = [1, 1];
        for axis in (0..shape.len()).rev() {
            let sizes = [shapes[0][axis], shapes[1][axis]];
            assert!(sizes.iter().all(|&size| size == 1 || size == shape[axis]), "{shapes:?} do not broadcast");
            let steps = [0, 1].map(|i| if sizes[i] == 1 { 0 } else { distance[i] });
            distance = [0, 1].map(|i| distance[i] * sizes[i]);
            if shape[axis] == 1 {
                continue;
            }
            match axes.last_mut() {
                // The next axis out continues where the last one ends.
                Some((size, last)) if [0, 1].iter().all(|&i| steps[i] == last[i] * *size) => *size *= shape[axis],
                _ => axes.push((shape[axis], steps)),
            }
        }
        axes.reverse();
        if axes.is_empty() {
            axes.push((1, [0, 0]));
        }
        (shape, Walk { axes })
    }

    /// Calls `run` for each stretch of results: its first place, where the operands begin, and their steps.
    fn stretches(&self, run: &mut dyn FnMut(usize, [usize; 2], [usize; 2], usize)) {
        let (&(length, steps), outer) = self.axes.split_last().expect("there is an axis");
        let count: usize = outer.iter().map(|(size, _)| size).product();
        for stretch in 0..count {
            let (mut rest, mut at) = (stretch, [0, 0]);
            for (size, steps) in outer.iter().rev() {
                at = [0, 1].map(|i| at[i] + rest % size * steps[i]);
                rest /= size;
            }
            run(stretch * length, at, steps, length);
        }
    }

    /// What the operand of that side gets of a gradient by the results: `own` are its numbers, `slope` that by it.
    fn share(
        &self,
        gradient: &[f32],
        side: usize,
        own: &[f32],
        other: &[f32],
        slope: &dyn Fn(f32, f32) -> f32,
    ) -> Vec<f32> {
        let mut found = vec![0.; own.len()];
        self.stretches(&mut |start, at, steps, length| {
            let (i, j) = (at[side], at[1 - side]);
            let gradient = &gradient[start..][..length];
            match [steps[side], steps[1 - side]] {
                [1, 1] => {
                    let numbers = own[i..][..length].iter().zip(&other[j..][..length]);
                    let found = found[i..][..length].iter_mut().zip(gradient);
                    found.zip(numbers).for_each(|((found, gradient), (&a, &b))| *found += gradient * slope(a, b));
                }
                [1, 0] => {
                    let b = other[j];
                    let found = found[i..][..length].iter_mut().zip(gradient);
                    found.zip(&own[i..][..length]).for_each(|((found, gradient), &a)| *found += gradient * slope(a, b));
                }
                [along, across] => {
                    for (k, gradient) in gradient.iter().enumerate() {
                        let (i, j) = (i + k * along, j + k * across);
                        found[i] += gradient * slope(own[i], other[j]);
                    }
                }
            }
        });
        found
    }
}

impl<const D: usize> Tensor<D> {
    /// `slopes` are those by the first and by the second number.
    fn binary(
        self,
        other: Self,
        function: impl Fn(f32, f32) -> f32,
        slopes: (impl Fn(f32, f32) -> f32 + 'static, impl Fn(f32, f32) -> f32 + 'static),
    ) -> Self {
        let (shape, walk) = Walk::new([&self.shape, &other.shape]);
        let mut values = vec![0.; shape.iter().product()];
        let (a, b) = (&self.values[..], &other.values[..]);
        walk.stretches(&mut |start, [i, j], steps, length| {
            let out = &mut values[start..][..length];
            match steps {
                [1, 1] => {
                    let operands = a[i..][..length].iter().zip(&b[j..][..length]);
                    out.iter_mut().zip(operands).for_each(|(out, (&a, &b))| *out = function(a, b));
                }
                [1, 0] => {
                    let b = b[j];
                    out.iter_mut().zip(&a[i..][..length]).for_each(|(out, &a)| *out = function(a, b));
                }
                [0, 1] => {
                    let a = a[i];
                    out.iter_mut().zip(&b[j..][..length]).for_each(|(out, &b)| *out = function(a, b));
                }
                [across, along] => {
                    for (k, out) in out.iter_mut().enumerate() {
                        *out = function(a[i + k * across], b[j + k * along]);
                    }
                }
            }
        });
        let walk = Rc::new(walk);
        let to_first = self.origin(|| {
            let (walk, a, b) = (walk.clone(), self.values.clone(), other.values.clone());
            Box::new(move |gradient| walk.share(gradient, 0, &a, &b, &slopes.0))
        });
        let to_second = other.origin(|| {
            let (a, b) = (self.values.clone(), other.values.clone());
            // The other way round, so that the operand whose share it is comes first.
            Box::new(move |gradient| walk.share(gradient, 1, &b, &a, &|b, a| slopes.1(a, b)))
        });
        let origins = [to_first, to_second].into_iter().flatten().collect();
        Tensor::computed(shape.try_into().expect("as many axes as operands have"), values, origins)
    }

    /// Sums; axes of size one repeat, here and in what follows.
    pub fn add(self, other: Self) -> Self {
        self.binary(other, |a, b| a + b, (|_, _| 1., |_, _| 1.))
    }

    /// Differences.
    pub fn sub(self, other: Self) -> Self {
        self.binary(other, |a, b| a - b, (|_, _| 1., |_, _| -1.))
    }

    /// Products.
    pub fn mul(self, other: Self) -> Self {
        self.binary(other, |a, b| a * b, (|_, b| b, |a, _| a))
    }

    /// Quotients.
    pub fn div(self, other: Self) -> Self {
        self.binary(other, |a, b| a / b, (|_, b| 1. / b, |a, b| -a / (b * b)))
    }

    /// Powers.
    pub fn powf(self, other: Self) -> Self {
        self.binary(other, f32::powf, (|a, b| b * a.powf(b - 1.), |a, b| a.powf(b) * a.ln()))
    }

    /// This number where the mask is not 0.
    pub fn mask_fill(self, mask: Self, number: f32) -> Self {
        let fill = move |x: f32, mask: f32| if mask == 0. { x } else { number };
        self.binary(mask, fill, (|_, mask| f32::from(mask == 0.), |_, _| 0.))
    }

    /// The lesser of each two.
    pub fn min_pair(self, other: Self) -> Self {
        let lesser = |a: f32, b: f32| if a < b || a.is_nan() { a } else { b };
        self.binary(other, lesser, (|a, b| chosen(b, a), chosen))
    }

    /// The greater of each two.
    pub fn max_pair(self, other: Self) -> Self {
        let greater = |a: f32, b: f32| if a > b || a.is_nan() { a } else { b };
        self.binary(other, greater, (chosen, |a, b| chosen(b, a)))
    }
}

/// The slope of the greater of two by the first of them; of equals, each has a half.
fn chosen(a: f32, b: f32) -> f32 {
    match a.partial_cmp(&b) {
        Some(std::cmp::Ordering::Greater) => 1.,
        Some(std::cmp::Ordering::Less) => 0.,
        _ => 0.5,
    }
}

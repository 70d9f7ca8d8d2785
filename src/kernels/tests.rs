//! Each kernel against plain loops in f64.

use super::*;
use crate::formula::{Combine, Function};

/// Numbers of both signs that are the same in every run.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 7919 + seed * 104_729) % 2003) as f32 / 1001. - 1.).collect()
}

/// A memory of numbers that no kernel may rely on, and planes in it one after the other, each with a border.
struct Memory {
    numbers: Vec<f32>,
}

impl Memory {
    fn new() -> Memory {
        Memory { numbers: vec![777.; 8] }
    }

    /// Planes with so many pixels of zeros around them and `spare` numbers behind each pixel's vectors.
    fn planes(&mut self, [channels, height, width]: [usize; 3], border: usize, spare: usize) -> Planes {
        let pixel = channels.next_multiple_of(4) + spare;
        let row = (width + 2 * border) * pixel;
        let start = self.numbers.len() + border * row + border * pixel;
        self.numbers.resize(self.numbers.len() + (height + 2 * border) * row + 8, 777.);
        let planes = Planes { start, row, pixel, height, width, channels };
        clear_border(&mut self.numbers, planes, [(border, border); 2], pixel);
        planes
    }

    fn filled(&mut self, shape: [usize; 3], border: usize, spare: usize, values: &[f32]) -> Planes {
        let planes = self.planes(shape, border, spare);
        from_planes(&mut self.numbers, planes, values);
        planes
    }
}

/// Runs a kernel in a memory of its own that ends where the kernel says that it does: what reaches further is noticed by a
/// sanitizer or by Miri.
fn run_within(numbers: &mut [f32], reach: usize, run: impl FnOnce(&mut [f32])) {
    let mut memory: Box<[f32]> = numbers[..reach].into();
    run(&mut memory);
    numbers[..reach].copy_from_slice(&memory);
}

#[track_caller]
fn assert_close(found: &[f32], expected: &[f64], tolerance: f64) {
    assert_eq!(found.len(), expected.len());
    let largest = expected.iter().fold(0_f64, |largest, value| largest.max(value.abs()));
    for (place, (&found, &expected)) in found.iter().zip(expected).enumerate() {
        assert!((f64::from(found) - expected).abs() <= tolerance * largest, "{place}: {found}, not {expected}");
    }
}

/// A convolution and what comes after it, as plain loops.
#[allow(clippy::too_many_arguments)]
fn convolved(
    x: &[f32],
    [channels, height, width]: [usize; 3],
    [outputs, out_height, out_width]: [usize; 3],
    window: Window,
    groups: usize,
    weights: &[f32],
    after: &After,
    addend: Option<&[f32]>,
) -> Vec<f64> {
    let [kh, kw] = window.kernel;
    let per_group = channels / groups;
    let mut out = Vec::new();
    for output in 0..outputs {
        for (y, x0) in (0..out_height).flat_map(|y| (0..out_width).map(move |x| (y, x))) {
            let mut sum = f64::from(after.bias[output]);
            for (channel, ky, kx) in
                (0..per_group).flat_map(|c| (0..kh).flat_map(move |ky| (0..kw).map(move |kx| (c, ky, kx))))
            {
                let (sy, sx) = window.corner(y, x0);
                let (sy, sx) = (sy + (ky * window.dilation[0]) as isize, sx + (kx * window.dilation[1]) as isize);
                if (0..height as isize).contains(&sy) && (0..width as isize).contains(&sx) {
                    let from = output / (outputs / groups) * per_group + channel;
                    let value = x[(from * height + sy as usize) * width + sx as usize];
                    let weight = weights[((output * per_group + channel) * kh + ky) * kw + kx];
                    sum += f64::from(value) * f64::from(weight);
                }
            }
            if let Some([scale, shift]) = &after.affine {
                sum = sum * f64::from(scale[output]) + f64::from(shift[output]);
            }
            sum += addend.map_or(0., |addend| f64::from(addend[out.len()]));
            out.push(sum.max(sum * f64::from(after.rectifier.slope)).min(f64::from(after.rectifier.high)));
        }
    }
    out
}

/// Which kernel computes a convolution.
#[derive(Clone, Copy, PartialEq)]
enum By {
    Direct,
    Depthwise,
    Winograd(Tiling),
}

#[track_caller]
fn check_convolution(by: By, shape: [usize; 3], outputs: usize, window: Window, groups: usize, rectifier: Rectifier) {
    let [channels, height, width] = shape;
    let [kh, kw] = window.kernel;
    let side = |i: usize, length: usize| {
        (length + 2 * window.padding[i] - (window.kernel[i] - 1) * window.dilation[i] - 1) / window.stride[i] + 1
    };
    let out = [outputs, side(0, height), side(1, width)];
    let weights = numbers(outputs * channels / groups * kh * kw, 1);
    let (x, bias) = (numbers(channels * height * width, 2), numbers(outputs, 3));
    let added = numbers(out.iter().product(), 4);
    for spare in [0, 4] {
        for addend in [None, Some(&added)] {
            let mut memory = Memory::new();
            let input = memory.filled(shape, 6, spare, &x);
            let addend_planes = addend.map(|addend| memory.filled(out, 0, 0, addend));
            let output = memory.planes(out, 1, spare);
            let affine = addend.map(|_| [numbers(outputs, 5), numbers(outputs, 6)]);
            let after = After { bias: bias.clone(), affine, addend: addend_planes, rectifier };
            let (planes, numbers) = ([input, output], &mut memory.numbers);
            let pack = &|order: Order| order.pack(&weights, &after.bias);
            match by {
                By::Direct => {
                    let kernel = Convolution::new(planes, window, groups, pack, &after);
                    run_within(numbers, kernel.reach, |memory| kernel.run(memory));
                }
                By::Depthwise => {
                    let kernel = Depthwise::new(planes, window, pack, &after);
                    run_within(numbers, kernel.reach, |memory| kernel.run(memory));
                }
                By::Winograd(tiling) => {
                    let scratch = numbers.len();
                    numbers.resize(scratch + tiling.scratch(channels, output), 777.);
                    let kernel = Winograd::new(tiling, planes, window.padding, pack, &after, scratch);
                    run_within(numbers, kernel.reach, |memory| kernel.run(memory));
                }
            }
            let expected = convolved(&x, shape, out, window, groups, &weights, &after, addend.map(Vec::as_slice));
            let tolerance = if matches!(by, By::Winograd(_)) { 2e-5 } else { 2e-6 };
            assert_close(&to_planes(&memory.numbers, output), &expected, tolerance);
            // The border of the output is left as it was.
            let around: f32 = memory.numbers[output.at(-1, -1)..output.at(-1, -1) + output.row].iter().sum();
            assert_eq!(around, 0.);
        }
    }
}

const RELU6: Rectifier = Rectifier { slope: 0., high: 6. };

fn window(kernel: usize, stride: usize, padding: usize, dilation: usize) -> Window {
    Window { kernel: [kernel; 2], stride: [stride; 2], padding: [padding; 2], dilation: [dilation; 2] }
}

#[test]
fn convolutions_of_one_pixel() {
    // Eight outputs, four, and a part of a vector; whole tiles of pixels and not.
    for outputs in [16, 12, 5] {
        check_convolution(By::Direct, [7, 5, 9], outputs, Window::PIXEL, 1, RELU6);
        check_convolution(By::Direct, [8, 1, 3], outputs, Window::PIXEL, 1, Rectifier::PLAIN);
    }
}

#[test]
fn linear_layers() {
    // Four blocks of outputs at once, and what is left.
    check_convolution(By::Direct, [45, 1, 1], 77, Window::PIXEL, 1, Rectifier::PLAIN);
    check_convolution(By::Direct, [45, 2, 1], 77, Window::PIXEL, 1, RELU6);
    check_convolution(By::Direct, [5, 3, 2], 36, window(3, 2, 1, 1), 1, RELU6);
}

#[test]
fn convolutions_of_any_window() {
    let leaky = Rectifier { slope: 0.1, high: f32::INFINITY };
    check_convolution(By::Direct, [3, 11, 8], 8, window(3, 2, 0, 1), 1, RELU6);
    check_convolution(By::Direct, [3, 11, 8], 8, window(7, 2, 3, 1), 1, leaky);
    check_convolution(By::Direct, [8, 6, 7], 9, window(3, 1, 1, 1), 1, Rectifier::PLAIN);
    check_convolution(By::Direct, [5, 9, 7], 4, window(3, 1, 2, 2), 1, leaky);
    let oblong = Window { kernel: [1, 3], stride: [1, 2], padding: [0, 1], dilation: [1, 1] };
    check_convolution(By::Direct, [4, 5, 9], 8, oblong, 1, RELU6);
}

#[test]
fn convolutions_in_groups() {
    check_convolution(By::Direct, [12, 5, 6], 24, window(3, 1, 1, 1), 3, RELU6);
    check_convolution(By::Direct, [8, 5, 6], 8, Window::PIXEL, 2, RELU6);
}

#[test]
fn convolutions_of_more_pixels_than_the_cache_holds() {
    check_convolution(By::Direct, [128, 16, 16], 4, window(3, 1, 1, 1), 1, Rectifier::PLAIN);
}

#[test]
fn convolutions_of_longer_stretches_than_the_cache_holds() {
    let wide = Window { kernel: [1, 800], ..Window::PIXEL };
    check_convolution(By::Direct, [5, 1, 805], 4, wide, 1, Rectifier::PLAIN);
}

/// Windows of several chains of products, of one stretch and of many, of whole ones and not.
#[test]
fn convolutions_of_thousands_of_products() {
    check_convolution(By::Direct, [1001, 3, 5], 12, Window::PIXEL, 1, RELU6);
    check_convolution(By::Direct, [1001, 1, 1], 12, Window::PIXEL, 1, RELU6);
    check_convolution(By::Direct, [101, 5, 6], 5, window(3, 1, 1, 1), 1, Rectifier::PLAIN);
    check_convolution(By::Direct, [6, 24, 25], 8, window(23, 1, 0, 1), 1, Rectifier::PLAIN);
    check_convolution(By::Winograd(Tiling::SMALL), [515, 6, 5], 8, window(3, 1, 1, 1), 1, RELU6);
    check_convolution(By::Winograd(Tiling::LARGE), [515, 9, 14], 8, window(3, 1, 1, 1), 1, RELU6);
}

/// Sums of 4608 products, as ResNets' last layers have them, of activations after ReLU: in one chain they are off by more.
#[test]
fn long_sums_are_as_exact_as_short_ones() {
    let inputs = 4608;
    for shape in [[1, 1], [3, 4]] {
        let pixels = shape[0] * shape[1];
        let x: Vec<f32> = numbers(inputs * pixels, 1).into_iter().map(|x| x.max(0.)).collect();
        let weights: Vec<f32> = numbers(inputs * 8, 2).into_iter().map(|w| w + 0.5).collect();
        let mut memory = Memory::new();
        let input = memory.filled([inputs, shape[0], shape[1]], 0, 0, &x);
        let output = memory.planes([8, shape[0], shape[1]], 0, 0);
        let after = After { bias: vec![0.; 8], affine: None, addend: None, rectifier: Rectifier::PLAIN };
        let kernel =
            Convolution::new([input, output], Window::PIXEL, 1, &|order| order.pack(&weights, &after.bias), &after);
        run_within(&mut memory.numbers, kernel.reach, |memory| kernel.run(memory));
        let sum = |output: usize, pixel: usize| -> f64 {
            (0..inputs).map(|i| f64::from(x[i * pixels + pixel]) * f64::from(weights[output * inputs + i])).sum()
        };
        let expected: Vec<f64> =
            (0..8).flat_map(|output| (0..pixels).map(move |pixel| (output, pixel))).map(|(o, p)| sum(o, p)).collect();
        assert_close(&to_planes(&memory.numbers, output), &expected, 5e-7);
    }
}

#[test]
fn depthwise_convolutions() {
    for channels in [8, 6] {
        check_convolution(By::Depthwise, [channels, 9, 7], channels, window(3, 1, 1, 1), channels, RELU6);
        check_convolution(By::Depthwise, [channels, 9, 7], channels, window(3, 2, 1, 1), channels, Rectifier::PLAIN);
        // Rows of fewer outputs than are computed together, and of as many as two such groups.
        check_convolution(By::Depthwise, [channels, 5, 3], channels, window(3, 1, 1, 1), channels, RELU6);
        check_convolution(By::Depthwise, [channels, 4, 16], channels, window(3, 2, 1, 1), channels, RELU6);
        check_convolution(By::Depthwise, [channels, 9, 7], channels, window(5, 1, 2, 1), channels, RELU6);
        check_convolution(By::Depthwise, [channels, 9, 7], channels, window(3, 1, 2, 2), channels, RELU6);
    }
}

#[test]
fn convolutions_by_winograd() {
    let leaky = Rectifier { slope: 0.2, high: f32::INFINITY };
    for by in [Tiling::SMALL, Tiling::LARGE].map(By::Winograd) {
        // Whole tiles and not, with and without padding, more tiles than are in work at a time.
        check_convolution(by, [8, 8, 12], 16, window(3, 1, 1, 1), 1, RELU6);
        check_convolution(by, [9, 7, 13], 11, window(3, 1, 0, 1), 1, Rectifier::PLAIN);
        check_convolution(by, [64, 30, 30], 64, window(3, 1, 1, 1), 1, leaky);
    }
}

#[test]
fn tiles_are_small_where_maps_are_small_and_weights_many() {
    let tiling = |input: [usize; 3], outputs| Tiling::of(&window(3, 1, 1, 1), 1, input, [outputs, input[1], input[2]]);
    assert_eq!(tiling([160, 12, 12], 160), Some(Tiling::SMALL));
    assert_eq!(tiling([32, 12, 12], 32), Some(Tiling::LARGE));
    assert_eq!(tiling([160, 56, 56], 160), Some(Tiling::LARGE));
    assert_eq!(tiling([512, 20, 20], 512), Some(Tiling::SMALL));
}

#[test]
fn pictures_lie_pixel_by_pixel() {
    for width in [1, 3, 4, 6, 9] {
        let values = numbers(3 * 2 * width, 7);
        let planes = Planes { start: 4, row: 3 * width + 5, pixel: 3, height: 2, width, channels: 3 };
        let mut memory = vec![777.; planes.end()];
        from_planes(&mut memory, planes, &values);
        for (place, &value) in values.iter().enumerate() {
            let (channel, y, x) = (place / (2 * width), place / width % 2, place % width);
            assert_eq!(memory[planes.at(y as isize, x as isize) + channel], value, "{width}: {channel} {y} {x}");
        }
        assert_eq!(memory[planes.at(0, width as isize)..planes.at(1, 0)], [777.; 5]);
        assert_eq!(to_planes(&memory, planes), values);
    }
}

#[test]
fn pools_count_the_image_alone() {
    let shape = [6, 5, 7];
    let x = numbers(6 * 5 * 7, 5);
    for (window, out) in [(window(3, 2, 1, 1), [3, 4]), (window(2, 2, 0, 2), [2, 3]), (window(5, 1, 2, 1), [5, 7])] {
        for kind in [PoolKind::Max, PoolKind::Sum] {
            let mut memory = Memory::new();
            let input = memory.filled(shape, 0, 4, &x);
            let output = memory.planes([6, out[0], out[1]], 0, 0);
            let kernel = Pool::new([input, output], window, kind, vec![0.5]);
            run_within(&mut memory.numbers, kernel.reach, |memory| kernel.run(memory));
            let mut expected = Vec::new();
            for (channel, y, x0) in
                (0..6).flat_map(|c| (0..out[0]).flat_map(move |y| (0..out[1]).map(move |x| (c, y, x))))
            {
                let (cy, cx) = window.corner(y, x0);
                let values = (0..window.kernel[0] * window.kernel[1]).filter_map(|tap| {
                    let sy = cy + (tap / window.kernel[1] * window.dilation[0]) as isize;
                    let sx = cx + (tap % window.kernel[1] * window.dilation[1]) as isize;
                    let inside = (0..5).contains(&sy) && (0..7).contains(&sx);
                    inside.then(|| f64::from(x[(channel * 5 + sy as usize) * 7 + sx as usize]))
                });
                expected.push(
                    0.5 * match kind {
                        PoolKind::Max => values.fold(f64::NEG_INFINITY, f64::max),
                        PoolKind::Sum => values.sum(),
                    },
                );
            }
            assert_close(&to_planes(&memory.numbers, output), &expected, 1e-6);
        }
    }
}

#[test]
fn functions_of_each_number() {
    let x: Vec<f32> = numbers(5 * 3 * 2, 6).iter().map(|value| value * 5.).collect();
    let (scale, shift) = (numbers(5, 7), numbers(5, 8));
    let sigmoid = |x: f64| 1. / (1. + (-x).exp());
    let cases: [(Function, &dyn Fn(f64) -> f64); 7] = [
        (Function::Rectifier(RELU6), &|x| x.clamp(0., 6.)),
        (Function::Clip(-0.5, 0.25), &|x| x.clamp(-0.5, 0.25)),
        (Function::HardSigmoid(0.2, 0.5), &|x| (0.2 * x + 0.5).clamp(0., 1.)),
        (Function::HardSwish, &|x| x * (x / 6. + 0.5).clamp(0., 1.)),
        (Function::Sigmoid, &sigmoid),
        (Function::Swish(1.5), &|x| x * sigmoid(1.5 * x)),
        (Function::Tanh, &f64::tanh),
    ];
    for (function, expected) in cases {
        let mut memory = Memory::new();
        let input = memory.filled([5, 3, 2], 0, 0, &x);
        let output = memory.planes([5, 3, 2], 1, 0);
        let kernel = Map::new([input, output], &scale, &shift, function);
        run_within(&mut memory.numbers, kernel.reach, |memory| kernel.run(memory));
        let value = |at: usize| f64::from(x[at]) * f64::from(scale[at / 6]) + f64::from(shift[at / 6]);
        let expected: Vec<f64> = (0..x.len()).map(|at| expected(value(at))).collect();
        assert_close(&to_planes(&memory.numbers, output), &expected, 1e-6);
    }
}

#[test]
fn functions_of_two_numbers_also_with_one_number_a_channel() {
    let (x, y) = (numbers(5 * 6, 9), numbers(5 * 6, 10));
    for single in [false, true] {
        let mut memory = Memory::new();
        let a = memory.filled([5, 3, 2], 0, 0, &x);
        let b = if single { memory.filled([5, 1, 1], 0, 0, &y[..5]) } else { memory.filled([5, 3, 2], 1, 0, &y) };
        let output = memory.planes([5, 3, 2], 0, 4);
        let rectifier = Rectifier { slope: 0., high: f32::INFINITY };
        run_within(&mut memory.numbers, output.end(), |memory| {
            combine(Combine::Mul, memory, [a, b], output, rectifier)
        });
        let other = |at: usize| f64::from(y[if single { at / 6 } else { at }]);
        let expected: Vec<f64> = (0..x.len()).map(|at| (f64::from(x[at]) * other(at)).max(0.)).collect();
        assert_close(&to_planes(&memory.numbers, output), &expected, 1e-6);
    }
}

#[test]
fn pools_give_their_gradients_back() {
    let (x, gradients) = (numbers(6 * 5 * 7, 5), numbers(6 * 3 * 4, 6));
    let by_two = window(3, 2, 1, 1);
    for kind in [PoolKind::Max, PoolKind::Sum] {
        let mut memory = Memory::new();
        let input = memory.filled([6, 5, 7], 0, 4, &x);
        let gradient = memory.filled([6, 3, 4], 0, 0, &gradients);
        let output = memory.planes([6, 5, 7], 0, 0);
        let kernel = PoolBack::new([input, gradient, output], by_two, kind, vec![0.5]);
        run_within(&mut memory.numbers, kernel.reach, |memory| kernel.run(memory));
        let mut expected = vec![0.; x.len()];
        for (at, &share) in gradients.iter().enumerate() {
            let (channel, y, x0) = (at / 12, at / 4 % 3, at % 4);
            let (cy, cx) = by_two.corner(y, x0);
            let taps = (0..9).map(|tap| (cy + tap / 3, cx + tap % 3));
            let inside = taps.filter(|&(y, x)| (0..5).contains(&y) && (0..7).contains(&x));
            let places: Vec<usize> = inside.map(|(y, x)| channel * 35 + y as usize * 7 + x as usize).collect();
            let greatest = |&place: &usize| places.iter().all(|&other| x[other] <= x[place]);
            match kind {
                PoolKind::Max => expected[*places.iter().find(|place| greatest(place)).unwrap()] += f64::from(share),
                PoolKind::Sum => places.iter().for_each(|&place| expected[place] += 0.5 * f64::from(share)),
            }
        }
        assert_close(&to_planes(&memory.numbers, output), &expected, 1e-6);
    }
}

#[test]
fn functions_give_their_gradients_back() {
    let (x, gradients) = (numbers(5 * 3 * 2, 6), numbers(5 * 3 * 2, 7));
    for (function, expected) in [
        (
            Function::Rectifier(Rectifier { slope: 0.25, high: f32::INFINITY }),
            (|x| if x > 0. { 1. } else { 0.25 }) as fn(f64) -> f64,
        ),
        (Function::Rectifier(Rectifier { slope: 0., high: 0.5 }), |x| f64::from(x > 0. && x < 0.5)),
        (Function::Tanh, |x| 1. - x.tanh() * x.tanh()),
    ] {
        let mut memory = Memory::new();
        let value = memory.filled([5, 3, 2], 0, 4, &x);
        let gradient = memory.filled([5, 3, 2], 1, 0, &gradients);
        let output = memory.planes([5, 3, 2], 0, 0);
        run_within(&mut memory.numbers, output.end(), |memory| slope(function, memory, [value, gradient], output));
        let expected: Vec<f64> =
            x.iter().zip(&gradients).map(|(&x, &share)| expected(f64::from(x)) * f64::from(share)).collect();
        assert_close(&to_planes(&memory.numbers, output), &expected, 1e-6);
    }
}

#[test]
fn one_pixel_is_spread_and_planes_are_stretched_and_summed() {
    let (x, biases) = (numbers(6 * 3 * 2, 6), numbers(6, 7));
    let mut memory = Memory::new();
    let from = memory.filled([6, 3, 2], 0, 4, &x);
    let sum = memory.planes([1, 3, 2], 0, 0);
    run_within(&mut memory.numbers, sum.end(), |memory| stretched_sum(memory, [from, sum], &biases));
    let mut expected = vec![0.; 6];
    for channel in 0..6 {
        let sizes: Vec<f64> =
            (0..6).map(|at| (f64::from(x[channel * 6 + at]) * f64::from(biases[channel])).abs()).collect();
        let (least, most) = sizes.iter().fold((f64::MAX, 0_f64), |(least, most), &x| (least.min(x), most.max(x)));
        expected.iter_mut().zip(&sizes).for_each(|(sum, size)| *sum += (size - least) / (most - least + 1e-7));
    }
    assert_close(&to_planes(&memory.numbers, sum), &expected, 1e-5);

    let mut memory = Memory::new();
    let from = memory.filled([6, 1, 1], 0, 0, &biases);
    let to = memory.planes([6, 2, 3], 0, 4);
    run_within(&mut memory.numbers, to.end(), |memory| spread(memory, [from, to], 0.5));
    let expected: Vec<f64> = (0..36).map(|at| 0.5 * f64::from(biases[at / 6])).collect();
    assert_close(&to_planes(&memory.numbers, to), &expected, 0.);
}

#[test]
#[should_panic(expected = "of one size")]
fn planes_of_other_sizes_are_refused() {
    let mut memory = Memory::new();
    let [a, b] = [memory.planes([4, 3, 3], 0, 0), memory.planes([4, 3, 2], 0, 0)];
    combine(Combine::Add, &mut memory.numbers, [a, b], a, Rectifier::PLAIN);
}

#[test]
#[should_panic(expected = "the memory was made for this kernel")]
fn a_memory_that_is_too_small_is_noticed() {
    let mut memory = Memory::new();
    let input = memory.filled([4, 3, 3], 1, 0, &numbers(36, 1));
    let output = memory.planes([4, 3, 3], 0, 0);
    let weights = numbers(4 * 4 * 9, 2);
    let after = After { bias: vec![0.; 4], affine: None, addend: None, rectifier: Rectifier::PLAIN };
    let kernel =
        Convolution::new([input, output], window(3, 1, 1, 1), 1, &|order| order.pack(&weights, &after.bias), &after);
    memory.numbers.truncate(output.start + 4);
    kernel.run(&mut memory.numbers);
}

#[test]
fn warming_up_stays_inside_its_memory() {
    warm_up();
}

#[test]
fn a_shuffle_takes_the_first_of_each_group_first() {
    let mut memory = Memory::new();
    let input = memory.filled([6, 1, 2], 0, 2, &[0., 10., 1., 11., 2., 12., 3., 13., 4., 14., 5., 15.]);
    let output = memory.planes([6, 1, 2], 1, 0);
    shuffle(&mut memory.numbers, [input, output], 2);
    // Groups 0 1 2 and 3 4 5.
    let expected = [0., 10., 3., 13., 1., 11., 4., 14., 2., 12., 5., 15.];
    assert_eq!(to_planes(&memory.numbers, output), expected);
}

#[test]
fn sums_of_any_length() {
    for length in [0, 1, 7, 8, 21] {
        let (row, mut sums) = (numbers(length, 3), numbers(length, 5));
        let wide = |values: &[f32]| values.iter().map(|&value| f64::from(value)).collect::<Vec<f64>>();
        assert_close(&[sum(&row)], &[wide(&row).iter().sum()], 1e-6);
        let expected: Vec<f64> = wide(&sums).iter().zip(wide(&row)).map(|(sum, number)| sum - 0.75 * number).collect();
        add_scaled(&mut sums, &row, -0.75);
        assert_close(&sums, &expected, 1e-6);
    }
}

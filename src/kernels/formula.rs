//! The arithmetic that fused steps come down to, as data: what the CPU's kernels and the GPU's shaders are made by.

/// How a window moves over its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    pub kernel: [usize; 2],
    pub stride: [usize; 2],
    /// Before the first row and the first column.
    pub padding: [usize; 2],
    pub dilation: [usize; 2],
}

impl Window {
    /// A window of one pixel.
    pub const PIXEL: Window = Window { kernel: [1, 1], stride: [1, 1], padding: [0, 0], dilation: [1, 1] };
}

/// One of the pieces in which the gradient by the input of a strided convolution falls apart along an axis: the places
/// `start`, `start + stride`, … of the input. Each is a convolution by its own taps.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Phase {
    pub start: usize,
    /// The taps of the window, in the order in which they meet the results.
    pub taps: Vec<usize>,
    /// The result that the first tap meets at the first place; it may lie before all of them.
    pub first: isize,
}

impl Window {
    /// The phases along an axis of an undilated window.
    pub fn phases(&self, axis: usize) -> Vec<Phase> {
        let (kernel, stride, padding) = (self.kernel[axis], self.stride[axis], self.padding[axis]);
        let phase = |start: usize| {
            let least = (start + padding) % stride;
            let taps: Vec<usize> = (least..kernel).step_by(stride).rev().collect();
            let first = ((start + padding - least) / stride) as isize - (taps.len() as isize - 1);
            Phase { start, taps, first }
        };
        (0..stride).map(phase).collect()
    }
}

/// What becomes of a sum before it is stored: `min(max(sum, slope · sum), high)`, ReLU and its kin. What is no number stays none.
///
/// ReLU has a slope of 0, leaky ReLU one below 1, no function at all a slope of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rectifier {
    pub slope: f32,
    pub high: f32,
}

impl Rectifier {
    /// The sum itself.
    pub const PLAIN: Rectifier = Rectifier { slope: 1., high: f32::INFINITY };
}

/// A function of each number.
#[derive(Clone, Copy, Debug)]
pub enum Function {
    Rectifier(Rectifier),
    /// To `low..=high`.
    Clip(f32, f32),
    /// `clip(alpha·x + beta, 0, 1)`.
    HardSigmoid(f32, f32),
    HardSwish,
    Sigmoid,
    /// `x · sigmoid(alpha·x)`.
    Swish(f32),
    Tanh,
    Sqrt,
    Abs,
}

impl Function {
    /// Whether it leaves numbers as they are.
    pub fn is_plain(self) -> bool {
        matches!(self, Function::Rectifier(Rectifier::PLAIN))
    }
}

/// A function of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Combine {
    Add,
    Sub,
    Mul,
}

/// What pooling keeps of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PoolKind {
    /// What lies outside the image does not count.
    Max,
    /// What lies outside the image reads as zero.
    Sum,
}

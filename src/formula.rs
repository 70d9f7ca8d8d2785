//! The arithmetic that fused steps come down to, as data: what the CPU's kernels and the GPU's shaders are made by.

/// How a window moves over its input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
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

/// What becomes of a sum before it is stored: `min(max(sum, slope · sum), high)`.
///
/// ReLU is a slope of 0, leaky ReLU one below 1, no function at all a slope of 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Finish {
    pub slope: f32,
    pub high: f32,
}

impl Finish {
    /// The sum itself.
    pub const PLAIN: Finish = Finish { slope: 1., high: f32::INFINITY };
}

/// A function of each number.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Function {
    Finish(Finish),
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
    pub(crate) fn is_plain(self) -> bool {
        matches!(self, Function::Finish(Finish::PLAIN))
    }
}

/// A function of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Combine {
    Add,
    Sub,
    Mul,
}

/// What pooling keeps of a window.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PoolKind {
    /// What lies outside the image does not count.
    Max,
    /// What lies outside the image reads as zero.
    Sum,
}

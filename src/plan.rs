//! What a network computes, decided completely while loading: steps in order, shapes known, constants at hand.
//!
//! Plain data, no closures, so that the same plan can be run, cut at a layer, searched for a pooling head, or compiled to
//! something faster.
//!
//! **Invariants.** Steps are in topological order and each feeds the output. A step's inputs and shapes were checked by the
//! loader, so running a plan cannot fail. Shapes are those of one image; the first axis is the batch.

use std::sync::Arc;

mod back;
mod chain;
pub(crate) mod head;
pub(crate) mod layers;
pub(crate) mod outputs;
pub(crate) mod work;

use std::rc::Rc;

pub(crate) use back::Turned;
pub(crate) use chain::Chain;
pub(crate) use head::{Head, PoolingHead};
pub(crate) use layers::{LayerForm, Layout};
pub use outputs::Activation;
pub(crate) use outputs::{Output, OutputKind};

/// Stands for no place of a value, where [`Op::Pick`] fills in a number.
pub(crate) const NOWHERE: u32 = u32::MAX;

/// A value that a step computes (or the network's input, which is value 0).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ValueId(pub usize);

/// Where a step takes an operand from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Source {
    /// The result of an earlier step.
    Value(ValueId),
    /// A parameter, by its place in [`Plan::constants`].
    Constant(usize),
}

/// A value: its name in the file and its shape for one image.
#[derive(Clone, Debug)]
pub(crate) struct Value {
    pub name: String,
    pub shape: Vec<usize>,
    pub layout: Layout,
}

/// A parameter in the device's four dimensions, with leading ones.
#[derive(Clone, Debug)]
pub(crate) struct Constant {
    pub shape: [usize; 4],
    pub values: Vec<f32>,
}

/// One operation with everything but its operands.
///
/// Axes count in the four dimensions that every tensor has on the device (a value of rank two is `[1, 1, N, C]`).
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Op {
    /// Operands: input, weights `[O, I/groups, kh, kw]`, optionally bias `[1, 1, 1, O]`.
    Convolution {
        stride: [usize; 2],
        padding: [(usize, usize); 2],
        dilation: [usize; 2],
        groups: usize,
    },
    /// Operands: input `[.., n, K]`, matrix `[.., K, m]` (`[.., m, K]` if `transposed`), optionally a bias that broadcasts.
    Linear {
        transposed: bool,
    },
    /// Padding reads as minus infinity.
    MaxPool {
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [(usize, usize); 2],
        dilation: [usize; 2],
    },
    /// Mean over windows of the zero-padded input; the optional second operand `[1, 1, oh, ow]` corrects the divisor
    /// where a window holds padding that does not count.
    AveragePool {
        kernel: [usize; 2],
        stride: [usize; 2],
        padding: [(usize, usize); 2],
    },
    /// Operands: input, scale, shift, both broadcasting: batch normalisation at inference.
    Affine,
    /// Normalised over `axes` to mean 0 and variance 1, then scale and shift (operands 1 and 2, if there).
    Normalize {
        axes: Vec<usize>,
        epsilon: f32,
    },
    /// `x / (bias + alpha/size · Σ x²)^beta`, the sum over `size` neighbouring channels.
    LocalResponse {
        size: usize,
        alpha: f32,
        beta: f32,
        bias: f32,
    },
    /// A function of each number.
    Unary(Unary),
    /// A function of two operands that broadcast.
    Binary(Binary),
    /// Operands: input, slope.
    Prelu,
    /// `[.., axis.., ..]`: over `axis`, or over all axes from `axis` on if `flatten` (opsets before 13).
    Softmax {
        axis: usize,
        flatten: bool,
        log: bool,
    },
    Reduce {
        kind: Reduction,
        axes: Vec<usize>,
    },
    /// To the shape of the step's value.
    Reshape,
    Permute([usize; 4]),
    /// Reshape, permute and reshape through a rank above four, as in a channel shuffle; ends in the value's shape.
    Rearrange {
        dims: Vec<usize>,
        permutation: Vec<usize>,
    },
    Concat {
        axis: usize,
    },
    Slice {
        axis: usize,
        start: usize,
        end: usize,
        step: usize,
    },
    /// The given indices of an axis, in that order.
    Select {
        axis: usize,
        indices: Vec<usize>,
    },
    /// Zero- or value-padding per axis, `(before, after)`.
    Pad {
        padding: [(usize, usize); 4],
        value: f32,
    },
    PadEdge {
        padding: [(usize, usize); 4],
        reflect: bool,
    },
    /// Broadcast to the shape of the step's value.
    Expand,
    /// Operands: input, matrix `[1, 1, oh, h]`, matrix `[1, 1, w, ow]`: any separable resampling.
    Resample,
    /// The number at each of these places of the input, counted row by row, in the order of the step's value; `fill` at
    /// [`NOWHERE`]. Of several images each is picked from by itself.
    Pick {
        places: Arc<[u32]>,
        fill: f32,
    },
    /// Operands: input, scale, zero point; rounds half to even and saturates.
    Quantize {
        low: f32,
        high: f32,
    },
    /// Operands: input, scale, zero point.
    Dequantize,
    /// What the gradient by the result of `op` adds to the gradient by one of its operands. Operands: those of `op`, and that
    /// gradient. Where a function is its own result's, too, such as ReLU, its result may stand in the place of its argument.
    Back {
        op: Box<Op>,
        operand: usize,
    },
    /// FullGrad's Σ_k ψ(|b_k·G_k|) over channels, where ψ stretches to 0..=1: `[1, 1, h, w]`. Operands: G `[1, K, h, w]`, and one
    /// number b for each channel.
    StretchedSum,
}

/// Functions of one number, by ONNX's definitions.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Unary {
    Relu,
    LeakyRelu(f32),
    /// To `low..=high`, each of which may be infinite.
    Clip(f32, f32),
    Sigmoid,
    /// `clip(alpha·x + beta, 0, 1)`.
    HardSigmoid(f32, f32),
    HardSwish,
    /// `x · sigmoid(alpha·x)`.
    Swish(f32),
    Elu(f32),
    /// `gamma · (x > 0 ? x : alpha·(exp(x) − 1))`.
    Selu(f32, f32),
    Gelu,
    GeluTanh,
    Erf,
    Tanh,
    Softplus,
    Softsign,
    Mish,
    Sqrt,
    Exp,
    Log,
    Abs,
    Neg,
    Reciprocal,
    /// To a constant power.
    Power(f32),
    /// 1 above zero, else 0.
    Step,
    Floor,
    Ceil,
    /// Halves to the even neighbour.
    Round,
    Sign,
    Sin,
    Cos,
    Tan,
    Asin,
    Acos,
    Atan,
    Sinh,
    Cosh,
    Asinh,
    Acosh,
    Atanh,
}

/// Functions of two numbers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Binary {
    Add,
    Sub,
    Mul,
    Div,
    Pow,
    Min,
    Max,
    /// The second where the first is not 0, elsewhere 0.
    Keep,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reduction {
    Mean,
    Sum,
    Max,
}

/// One step of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The node's own name in the file (may be empty) and its operator, for people.
    pub node: String,
    pub operator: String,
    pub op: Op,
    pub inputs: Vec<Source>,
    pub output: ValueId,
}

/// A network as data.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub values: Vec<Value>,
    /// Shared with the plans that were made from this one.
    pub constants: Rc<Vec<Constant>>,
    pub steps: Vec<Step>,
    /// What is explained.
    pub output: Output,
    /// Whether every step keeps images apart along the first axis, so that several run at once.
    pub batches: bool,
    pub head: Result<PoolingHead, String>,
    /// Further names by which a value is known: node names, and results of Identity or Dropout.
    pub aliases: Vec<(String, ValueId)>,
}

impl Step {
    /// The step of a chain at `index`: from the value of that number, and perhaps a constant, to the next.
    pub fn in_chain(index: usize, op: Op, constant: Option<usize>) -> Step {
        Step {
            node: String::new(),
            operator: String::new(),
            op,
            inputs: [Source::Value(ValueId(index))].into_iter().chain(constant.map(Source::Constant)).collect(),
            output: ValueId(index + 1),
        }
    }
}

impl Source {
    /// The value, unless it is a parameter.
    pub fn value(&self) -> Option<ValueId> {
        match self {
            Source::Value(value) => Some(*value),
            Source::Constant(_) => None,
        }
    }
}

/// The one of `steps` that computes `value`: steps stand in the order of their values.
pub(crate) fn producer(steps: &[Step], value: ValueId) -> Option<&Step> {
    steps.binary_search_by_key(&value, |step| step.output).ok().map(|index| &steps[index])
}

/// A shape in the device's four dimensions.
pub(crate) fn rank4(shape: &[usize]) -> [usize; 4] {
    let mut out = [1; 4];
    out[4 - shape.len()..].copy_from_slice(shape);
    out
}

impl Plan {
    /// The step that computes `value`; none computes the input.
    pub fn producer(&self, value: ValueId) -> Option<&Step> {
        producer(&self.steps, value)
    }

    /// How scores become probabilities.
    pub fn activation(&self) -> Activation {
        let OutputKind::Scores(activation) = self.output.kind;
        activation
    }

    /// How many numbers the output holds for each image: one a class.
    pub fn classes(&self) -> usize {
        self.values[self.output.value.0].shape.iter().product()
    }

    /// How many numbers all parameters are.
    pub fn numbers(&self) -> usize {
        self.constants.iter().map(|constant| constant.values.len()).sum()
    }

    /// Which values depend on `value`, itself not among them.
    pub fn downstream_of(&self, value: ValueId) -> Vec<bool> {
        let mut behind = vec![false; self.values.len()];
        for step in &self.steps {
            behind[step.output.0] = step.output != value
                && step.inputs.iter().filter_map(Source::value).any(|input| input == value || behind[input.0]);
        }
        behind
    }

    /// The constant that a step adds to each channel of maps `[1, K, h, w]`, as a convolution, a batch normalisation or an
    /// addition of its own.
    pub fn bias(&self, step: &Step) -> Option<usize> {
        let &[1, channels, _, _] = self.values[step.output.0].shape.as_slice() else { return None };
        let constant = |source: &Source| match source {
            Source::Constant(constant) => Some(*constant),
            Source::Value(_) => None,
        };
        let bias = match step.op {
            Op::Convolution { .. } | Op::Affine => constant(step.inputs.get(2)?),
            Op::Binary(Binary::Add) => {
                let last = step.inputs.iter().filter_map(constant).next_back();
                last.filter(|&constant| self.constants[constant].shape == [1, channels, 1, 1])
            }
            _ => None,
        }?;
        (self.constants[bias].values.len() == channels).then_some(bias)
    }

    /// The steps whose results are chosen, by their places, in order.
    pub fn steps_to(&self, chosen: impl Fn(ValueId) -> bool) -> Vec<usize> {
        (0..self.steps.len()).filter(|&step| chosen(self.steps[step].output)).collect()
    }

    /// Where the first axis of a value, the batch, is among the device's four.
    pub fn batch_axis(&self, value: ValueId) -> usize {
        4 - self.values[value.0].shape.len().max(1)
    }

    /// The shape of a value for so many images, in the device's four dimensions.
    pub fn device_shape(&self, value: ValueId, images: usize) -> [usize; 4] {
        let mut shape = rank4(&self.values[value.0].shape);
        shape[self.batch_axis(value)] *= images;
        shape
    }
}

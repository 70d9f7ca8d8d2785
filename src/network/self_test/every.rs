//! A small network that takes every kind of shader, forwards and back, and burn where there is none.

use super::{agrees, slopes};
use crate::Result;
use crate::device::Device;
use crate::network::evaluate;
use crate::plan::{
    Activation, Binary, Constant, Layout, Op, Output, OutputKind, Plan, Reduction, Source, Step, Unary, Value, ValueId,
};
use crate::tensor::{numbers, tensor};

/// Holds a graphics card to the CPU.
///
/// # Errors
/// `DeviceError` if a number differs by more than 1e-4 of the largest, or if the card gives no result.
pub(super) async fn shader(device: &Device) -> Result<()> {
    let input = tensor(some(3 * 9 * 8, 5), [1, 3, 9, 8]);
    let plan = network();
    let expected = slopes(plan.clone(), input.clone(), &Device::cpu()).await?;
    let found = slopes(plan.clone(), input.clone(), device).await?;
    agrees("one of its shaders, on the way back", &found, &expected)?;
    let expected = numbers(evaluate(plan.clone(), vec![input.clone()], &Device::cpu(), false).await?);
    let found = numbers(evaluate(plan, vec![input], device, false).await?);
    agrees("one of its shaders", &found, &expected)
}

/// Numbers of both signs, the same in every run.
fn some(count: usize, seed: usize) -> Vec<f32> {
    (0..count).map(|i| ((i * 37 + seed * 11) % 23) as f32 / 11. - 1.).collect()
}

/// A plan on its way.
struct Sketch {
    values: Vec<Value>,
    constants: Vec<Constant>,
    steps: Vec<Step>,
}

impl Sketch {
    fn value(&mut self, shape: &[usize]) -> ValueId {
        self.values.push(Value { name: String::new(), shape: shape.to_vec(), layout: Layout::default() });
        ValueId(self.values.len() - 1)
    }

    fn constant(&mut self, shape: [usize; 4]) -> Source {
        let values = some(shape.iter().product(), self.constants.len());
        self.constants.push(Constant { shape, values });
        Source::Constant(self.constants.len() - 1)
    }

    fn step(&mut self, op: Op, inputs: &[Source], shape: &[usize]) -> Source {
        let output = self.value(shape);
        let (node, operator) = (String::new(), String::new());
        self.steps.push(Step { node, operator, op, inputs: inputs.to_vec(), output });
        Source::Value(output)
    }

    /// With weights and a bias of its own.
    fn convolution(&mut self, input: Source, weights: [usize; 4], stride: usize, shape: &[usize]) -> Source {
        let Source::Value(ValueId(id)) = input else { unreachable!("a value is convolved") };
        let groups = self.values[id].shape[1] / weights[1];
        let padding = [(weights[2] / 2, weights[2] / 2); 2];
        let op = Op::Convolution { stride: [stride; 2], padding, dilation: [1; 2], groups };
        let parameters = [self.constant(weights), self.constant([1, 1, 1, weights[0]])];
        self.step(op, &[input, parameters[0], parameters[1]], shape)
    }

    /// To the mean of each channel and from there to five scores.
    fn scores(&mut self, input: Source, channels: usize) -> Source {
        let mean = Op::Reduce { kind: Reduction::Mean, axes: vec![2, 3] };
        let means = self.step(mean, &[input], &[1, channels, 1, 1]);
        let row = self.step(Op::Reshape, &[means], &[1, channels]);
        let parameters = [self.constant([1, 1, channels, 5]), self.constant([1, 1, 1, 5])];
        self.step(Op::Linear { transposed: false }, &[row, parameters[0], parameters[1]], &[1, 5])
    }
}

fn network() -> Plan {
    let mut sketch = Sketch { values: Vec::new(), constants: Vec::new(), steps: Vec::new() };
    let whole = [1, 8, 9, 8];
    let input = Source::Value(sketch.value(&[1, 3, 9, 8]));
    // A convolution of a picture, number by number, and of each channel for itself.
    let first = sketch.convolution(input, [8, 3, 3, 3], 1, &whole);
    let first = sketch.step(Op::Unary(Unary::Relu), &[first], &whole);
    let depthwise = sketch.convolution(first, [8, 1, 3, 3], 1, &whole);
    let product = sketch.step(Op::Binary(Binary::Mul), &[first, depthwise], &whole);
    // A convolution with everything that is fused to it, and one in groups.
    let pixels = sketch.convolution(product, [8, 8, 1, 1], 1, &whole);
    let parameters = [sketch.constant([1, 8, 1, 1]), sketch.constant([1, 8, 1, 1])];
    let scaled = sketch.step(Op::Affine, &[pixels, parameters[0], parameters[1]], &whole);
    let sum = sketch.step(Op::Binary(Binary::Add), &[scaled, product], &whole);
    let sum = sketch.step(Op::Unary(Unary::Relu), &[sum], &whole);
    let grouped = sketch.convolution(sum, [8, 4, 3, 3], 1, &whole);
    // Pools: with one factor for all, with one for each place, and without any.
    let pooled = [1, 8, 8, 7];
    let (kernel, stride) = ([2, 2], [1, 1]);
    let max = Op::MaxPool { kernel, stride, padding: [(0, 0); 2], dilation: [1, 1] };
    let max = sketch.step(max, &[sum], &pooled);
    let mean = sketch.step(Op::AveragePool { kernel, stride, padding: [(0, 0); 2] }, &[grouped], &pooled);
    let corrections = sketch.constant([1, 1, 9, 8]);
    let padded = Op::AveragePool { kernel: [3, 3], stride, padding: [(1, 1); 2] };
    let each = sketch.step(padded, &[grouped, corrections], &whole);
    // A function by itself, a convolution from vectors to vectors beyond the edges, a copy.
    let joined = sketch.step(Op::Concat { axis: 1 }, &[max, mean], &[1, 16, 8, 7]);
    let mapped = sketch.step(Op::Unary(Unary::Sigmoid), &[joined], &[1, 16, 8, 7]);
    let smaller = sketch.convolution(mapped, [12, 16, 3, 3], 2, &[1, 12, 4, 4]);
    let edged = Op::Pad { padding: [(0, 0), (0, 0), (1, 0), (0, 1)], value: 0.5 };
    let edged = sketch.step(edged, &[smaller], &[1, 12, 5, 5]);
    let thinned = sketch.convolution(edged, [12, 1, 3, 3], 2, &[1, 12, 3, 3]);
    // Products of values, of a value between constants, and with a constant that is added.
    let likeness = sketch.step(Op::Linear { transposed: true }, &[first, product], &[1, 8, 9, 9]);
    let sides = [sketch.constant([1, 1, 6, 9]), sketch.constant([1, 1, 9, 5])];
    let resampled = sketch.step(Op::Resample, &[likeness, sides[0], sides[1]], &[1, 8, 6, 5]);
    let parameters = [sketch.constant([1, 1, 5, 3]), sketch.constant([1, 1, 6, 3])];
    let linear = Op::Linear { transposed: false };
    let multiplied = sketch.step(linear, &[resampled, parameters[0], parameters[1]], &[1, 8, 6, 3]);
    // Whole planes and single rows; the last step has no shader.
    let (a, b, c) = (sketch.scores(thinned, 12), sketch.scores(each, 8), sketch.scores(multiplied, 8));
    let scores = sketch.step(Op::Binary(Binary::Add), &[a, b], &[1, 5]);
    let scores = sketch.step(Op::Binary(Binary::Add), &[scores, c], &[1, 5]);
    let scores = sketch.step(Op::Softmax { axis: 3, flatten: false, log: true }, &[scores], &[1, 5]);
    let Source::Value(value) = scores else { unreachable!("scores are a value") };
    let Sketch { values, constants, steps } = sketch;
    Plan {
        values,
        constants: constants.into(),
        steps,
        output: Output { value, kind: OutputKind::Scores(Activation::Softmax) },
        batches: true,
        head: Err(String::new()),
        aliases: Vec::new(),
    }
}

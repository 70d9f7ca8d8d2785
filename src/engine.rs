//! What runs a plan: one seam, and the engines behind it.
//!
//! An engine is chosen once, when a network is made for a device. It compiles stretches of the plan, forwards and
//! backwards; the network decides which, keeps the programs and joins their results. Programs take and give plain numbers.
//!
//! - [`Reference`] runs step by step on tensors: the definition of what the others compute.
//! - [`cpu`] runs fused steps by the kernels, in one memory.
//! - [`gpu`] runs fused steps by shaders, and everything else on burn's tensors on the same card.

#[cfg(feature = "gpu")]
#[expect(clippy::duplicate_mod, reason = "one definition, for the CPU's tensors and for those on the card")]
mod card;
pub(crate) mod cpu;
#[cfg(feature = "gpu")]
pub(crate) mod gpu;
pub(crate) mod reference;
mod step;
mod tape;

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::{Rc, Weak};

pub(crate) use self::reference::Reference;
pub(crate) use self::step::run as run_step;
pub(crate) use self::tape::{stretched, stretched_sum};
use crate::device::Device;
use crate::plan::{Op, Plan, Turned, Unary, ValueId};
use crate::{Result, tensor};

/// A stretch of a plan.
#[derive(Clone, Debug)]
pub(crate) struct Stretch {
    /// The steps to run, by their places in the plan, in order.
    pub steps: Vec<usize>,
    /// The values from elsewhere that they take.
    pub inputs: Vec<ValueId>,
    /// The values that are wanted.
    pub outputs: Vec<ValueId>,
}

/// How gradients pass back through rectifiers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rectifiers {
    /// By the chain rule.
    Plain,
    /// By the chain rule where they are positive; negative ones stop there.
    Guided,
}

/// The way back through a stretch.
#[derive(Clone, Debug)]
pub(crate) struct WayBack {
    /// The way forward. It has one output: the value by which the gradient is known.
    pub forward: Stretch,
    /// The value by which the gradient is wanted: an input of the way forward.
    pub wanted: ValueId,
    pub rectifiers: Rectifiers,
    /// Whether FullGrad's sums are wanted, too: of Σ_k ψ(|b_k·∂s/∂V_k|) over the channels of each value V to which a bias b was
    /// added; ψ stretches to 0..=1. Values of one size are one sum.
    pub biases: bool,
}

impl WayBack {
    /// Height and width of each of FullGrad's sums.
    pub fn sums(&self, plan: &Plan) -> Vec<[usize; 2]> {
        let mut sizes: Vec<[usize; 2]> = Vec::new();
        for step in self.forward.steps.iter().rev().map(|&index| &plan.steps[index]) {
            if let (true, Some(_), &[_, _, height, width]) =
                (self.biases, plan.bias(step), plan.values[step.output.0].shape.as_slice())
                && !sizes.contains(&[height, width])
            {
                sizes.push([height, width]);
            }
        }
        sizes
    }
}

/// Numbers of a value, one image after the other, each in the file's order. A single image serves for all.
#[derive(Clone, Copy)]
pub(crate) struct Images<'a> {
    pub numbers: &'a [f32],
    pub count: usize,
}

impl<'a> Images<'a> {
    /// The numbers of one image.
    pub fn of(&self, image: usize) -> &'a [f32] {
        let each = self.numbers.len() / self.count;
        let image = if self.count == 1 { 0 } else { image };
        &self.numbers[image * each..][..each]
    }
}

/// Compiles and runs stretches of one plan.
pub(crate) trait Engine {
    /// A program for a stretch. It takes the stretch's inputs and gives its outputs.
    fn compile(&self, stretch: Stretch) -> Box<dyn Program>;

    /// A program for a way back. It takes the inputs of the way forward and then the gradient by its output, and gives the
    /// gradient by the value wanted (zeros if nothing depends on it) and then FullGrad's sums, `[1, 1, h, w]` each.
    fn compile_back(&self, way: WayBack) -> Box<dyn Program> {
        let Turned { plan, stretch, results } = Turned::new(self.plan(), &way);
        let engine = self.with_reference(Rc::new(Reference::new(Rc::new(plan))));
        Box::new(Back { program: engine.compile(stretch), results })
    }

    /// What it runs.
    fn plan(&self) -> &Plan;

    /// How many steps the CPU had to run in a graphics card's place.
    fn cpu_steps(&self) -> u64 {
        0
    }

    /// The same engine, with the same memory and counts, for another plan.
    fn with_reference(&self, reference: Rc<Reference>) -> Rc<dyn Engine>;
}

/// Numbers that come now or, from a graphics card, later.
pub(crate) type Later<'a> = Pin<Box<dyn Future<Output = Result<Vec<Vec<f32>>>> + 'a>>;

/// A compiled stretch.
pub(crate) trait Program {
    /// Runs for `images` images. The first `skipped` results are left out.
    ///
    /// # Errors
    /// `DeviceError` if a graphics card gives no result.
    fn run<'a>(&'a self, inputs: &'a [Images<'a>], images: usize, skipped: usize) -> Later<'a>;
}

/// A program for a way back, by one for the steps of a [`Turned`] plan.
struct Back {
    program: Box<dyn Program>,
    /// Of each result the numbers of one image, and whether the program gives it; others are zero.
    results: Vec<(usize, bool)>,
}

impl Program for Back {
    fn run<'a>(&'a self, inputs: &'a [Images<'a>], images: usize, skipped: usize) -> Later<'a> {
        Box::pin(async move {
            let mut found = self.program.run(inputs, images, 0).await?.into_iter();
            let results = self.results.iter().map(|&(length, is_given)| {
                let zeros = || vec![0.; length * images];
                if is_given { found.next() } else { None }.unwrap_or_else(zeros)
            });
            Ok(results.skip(skipped).collect())
        })
    }
}

/// What programs share of a plan's constants, each thing once, as long as one of them has it.
///
/// Programs for other layers take most weights as the first one has them, and a network with a gigabyte of them has no room
/// for another copy.
struct Kept<K, V>(RefCell<Vec<Made<K, V>>>);

/// What was made of one constant, and how.
type Made<K, V> = Vec<(K, Weak<V>)>;

impl<K, V> Default for Kept<K, V> {
    fn default() -> Kept<K, V> {
        Kept(RefCell::default())
    }
}

impl<K: PartialEq, V> Kept<K, V> {
    /// What is made of a constant in the way that `key` says; made now, if nothing is left of it.
    fn get(&self, constant: usize, key: K, make: impl FnOnce() -> Rc<V>) -> Rc<V> {
        let mut constants = self.0.borrow_mut();
        if constants.len() <= constant {
            constants.resize_with(constant + 1, Vec::new);
        }
        let kept = &mut constants[constant];
        kept.retain(|(_, made)| made.strong_count() > 0);
        let found = kept.iter().find(|(made_by, _)| *made_by == key);
        found.and_then(|(_, made)| made.upgrade()).unwrap_or_else(|| {
            let made = make();
            kept.push((key, Rc::downgrade(&made)));
            made
        })
    }
}

/// The engine that a device has, for the plan of `reference`.
pub(crate) fn on(device: &Device, reference: Rc<Reference>) -> Rc<dyn Engine> {
    #[cfg(feature = "gpu")]
    if let Some(gpu) = &device.gpu {
        return Rc::new(gpu::Gpu::new(gpu.clone(), reference));
    }
    let _ = device;
    Rc::new(cpu::Cpu::new(reference))
}

/// Runs once for each image and joins the results.
fn each_image(images: usize, mut run: impl FnMut(usize) -> Vec<Vec<f32>>) -> Vec<Vec<f32>> {
    let mut joined = run(0);
    for image in 1..images {
        joined.iter_mut().zip(run(image)).for_each(|(joined, result)| joined.extend(result));
    }
    joined
}

impl Plan {
    /// Every step of the plan, from `inputs` to `outputs`.
    pub(crate) fn whole(&self, inputs: Vec<ValueId>, outputs: Vec<ValueId>) -> Stretch {
        Stretch { steps: (0..self.steps.len()).collect(), inputs, outputs }
    }
}

/// Whether it lets through what is positive and holds back, wholly or for the most part, what is not.
pub(crate) fn is_rectifier(op: &Op) -> bool {
    match op {
        Op::Prelu => true,
        Op::Unary(unary) => matches!(
            unary,
            Unary::Relu
                | Unary::LeakyRelu(_)
                | Unary::Clip(0., _)
                | Unary::Elu(_)
                | Unary::Selu(..)
                | Unary::Softplus
                | Unary::Swish(_)
                | Unary::HardSwish
                | Unary::Gelu
                | Unary::GeluTanh
                | Unary::Mish
        ),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::reference::Stepwise;
    use super::*;
    use crate::plan::layers::Layout;
    use crate::plan::{Activation, Output, OutputKind, Source, Step, Value};

    /// The slopes of a function at some numbers, by the reference and by the CPU's kernels.
    fn slopes(unary: Unary, at: &[f32]) -> [Vec<f32>; 2] {
        let value = || Value { name: String::new(), shape: vec![1, 1, 1, at.len()], layout: Layout::default() };
        let step = Step {
            node: String::new(),
            operator: String::new(),
            op: Op::Unary(unary),
            inputs: vec![Source::Value(ValueId(0))],
            output: ValueId(1),
        };
        let plan = Rc::new(Plan {
            values: vec![value(), value()],
            constants: Rc::default(),
            steps: vec![step],
            output: Output { value: ValueId(1), kind: OutputKind::Scores(Activation::Softmax) },
            batches: true,
            head: Err(String::new()),
            aliases: Vec::new(),
        });
        let reference = Rc::new(Reference::new(plan.clone()));
        let engines: [Box<dyn Engine>; 2] = [Box::new(Stepwise(reference.clone())), Box::new(cpu::Cpu::new(reference))];
        engines.map(|engine| {
            let forward = plan.whole(vec![ValueId(0)], vec![ValueId(1)]);
            let way = WayBack { forward, wanted: ValueId(0), rectifiers: Rectifiers::Plain, biases: false };
            let ones = vec![1.; at.len()];
            let inputs = [Images { numbers: at, count: 1 }, Images { numbers: &ones, count: 1 }];
            let program = engine.compile_back(way);
            pollster::block_on(program.run(&inputs, 1, 0)).unwrap().remove(0)
        })
    }

    #[test]
    fn slopes_at_corners_are_pytorchs() {
        // torch.nn.functional.{relu6, relu, hardsigmoid, hardswish}, 2.15.
        let at = [-3., 0., 3., 6., 1.5, -1.5];
        for (unary, expected) in [
            (Unary::Clip(0., 6.), [0., 0., 1., 0., 1., 0.]),
            (Unary::Clip(-3., 3.), [0., 1., 0., 0., 1., 1.]),
            (Unary::Relu, [0., 0., 1., 1., 1., 0.]),
            (Unary::LeakyRelu(0.25), [0.25, 0.25, 1., 1., 1., 0.25]),
            (Unary::HardSigmoid(1. / 6., 0.5), [0., 1. / 6., 0., 0., 1. / 6., 1. / 6.]),
            (Unary::HardSwish, [0., 0.5, 1., 1., 1., 0.]),
        ] {
            for found in slopes(unary, &at) {
                let close = found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6);
                assert!(close, "{unary:?}: {found:?} instead of {expected:?}");
            }
        }
    }
}
